"""Faust's Kafka transport, with records in chunks and commits that never pass an unprocessed record.

`broker="batch://host:port"` selects it (entry point `faust.transports`). Topics in `app.batch_topics`
arrive as one message a chunk (`pipeline.engine.chunk`); everything else, changelogs above all, arrives record
by record as in Faust's own driver, of which this is a subclass.

Everything of Faust that the engine overrides, as of faust-streaming 0.15.3, mode-streaming 0.7.1 and aiokafka
0.14.0. `tests/pipeline/engine/test_overrides.py` fails when an upgrade renames one or changes its signature,
and when an override is missing here.

| upstream class and name | file | why |
|---|---|---|
| `Transport.Consumer` | transport | selects `Consumer` here |
| `Consumer.RebalanceListener` | transport | selects `RebalanceListener` here |
| `Consumer._new_consumer_thread` | transport | selects `ConsumerThread` |
| `Consumer.getmany` | transport | chunks, of each partition in turn: no backlog delays another's |
| `Consumer.ack` | transport | counts a chunk as done in the offset tracker (1) |
| `Consumer._new_offset` | transport | the offset to commit, from the offset tracker (1) |
| `Consumer._filter_tps_with_pending_acks` | transport | the partitions to commit, from the tracker (1) |
| `Consumer._add_gap` | transport | offsets without a record need no bookkeeping in chunks |
| `Consumer._commit_offsets` | transport | a rejected commit does not count; age of uncommitted acks |
| `Consumer.perform_seek` | transport | a batch partition is read from its committed offset only (2) |
| `Consumer.wait_empty` | transport | the chunk in flight ends, then a commit: fewer repeats |
| `Consumer.on_partitions_revoked` | transport | later acks of revoked partitions are ignored |
| `Consumer.on_buffer_full` | transport | a full queue blocks the fetcher; pausing would cost a second |
| `Consumer.verify_event_path` | transport | no stream reads a changelog: Faust warns about each |
| `ConsumerRebalanceListener.on_partitions_revoked` | transport | ends epochs in the consumer's thread |
| `AIOKafkaConsumerThread.__post_init__` | consumer_thread | the offset that must come next, by partition |
| `AIOKafkaConsumerThread._fetch_records` | consumer_thread | records with their epoch; detects missing ones |
| `AIOKafkaConsumerThread._create_worker_consumer` | consumer_thread | settings that Faust lacks (3) |
| `AIOKafkaConsumerThread.seek` | consumer_thread | begins an epoch before the jump |
| `AIOKafkaConsumerThread._seek_wait` | consumer_thread | begins an epoch before the jump |
| `AIOKafkaConsumerThread._commit` | consumer_thread | a commit of an old generation does not crash (4) |
| `AIOKafkaConsumerThread.highwater` | consumer_thread | 0 for a partition that is not assigned any more |
| `FlowControlEvent.resume` | flow_control | empties the queues once, not at each call |
| `App.flow_control` | app | selects `FlowControl` |
| `App.on_rebalance_start` | app | readiness and metrics |
| `App.on_rebalance_end` | app | readiness and metrics |
| `Worker._schedule_shutdown` | app | ends in time where Faust waits for brokers without end |
| `Worker.on_setup_root_logger` | app | suppresses repeated lines in the handlers that Faust made |
| `TableManager.recovery` | recovery | selects `StrictRecovery` |
| `Recovery._slurp_changelogs` | recovery | an error ends the process: Faust logs it and keeps the holes |
| `Store.persisted_offset` | store | the position in the database, never None |
| `Store.set_persisted_offset` | store | raises: the position is written together with values |
| `StoreT.apply_changelog_batch` | store | keeps the value with the highest source offset |
| `Store.on_rebalance` | store | opens and closes the databases of partitions |
| `ServiceCallbacks.on_stop` | store | closes the databases |
| `StoreT.reset_state` | store | removes the table's folder |
| `StoreT.backup_partition` | store | raises: the changelog is the backup |
| `StoreT.restore_backup` | store | raises: the changelog is the backup |

1. Faust's gap bookkeeping commits chunks that no worker processed, when partitions move under load
   (`tests/faults/live_feed.py` shows it).
2. Faust leaves partitions without a commit where they are, past records that it fetched and dropped. Here a
   batch partition is read only after it was sought, to its committed offset or to its beginning.
3. `_fetch_min_bytes` and `_fetch_max_wait_ms`. `_fetch_records` also uses aiokafka's `Fetcher`:
   `fetched_records`, `_create_fetch_waiter`, `_subscriptions`.
4. Faust means to ignore it, but compares with a message that aiokafka breaks over lines, and crashes.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from time import monotonic
from typing import Any, ClassVar, cast

from faust.transport.consumer import ensure_TP
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage, Message
from faust.types.transports import ConsumerT, TPorTopicSet

from pipeline.engine.chunk import Chunk, cut
from pipeline.engine.consumer_thread import BatchApp, ConsumerThread, Fetch, PositionLost, Progress
from pipeline.engine.offset_tracker import Tracker
from pipeline.runtime.crash_points import reach

IN_FLIGHT_WAIT_S_MAX = (
    5.0  # a rebalance or stop waits so long for the chunk in hand; then it will be repeated
)


class RebalanceListener(driver.ConsumerRebalanceListener):
    """Ends epochs in the consumer's thread, before the main thread is notified of the rebalance."""

    def on_partitions_revoked(self, revoked: Iterable[Any]) -> Any:
        """End the epochs of revoked partitions, then run Faust's own handler."""
        cast(ConsumerThread, self._thread).revoking(ensure_TP(tp) for tp in revoked)
        return super().on_partitions_revoked(revoked)


class _ReadOffsets(dict[TP, int | None]):
    """Faust's read offsets. Empty for batch topics: epochs show which chunks are old, offsets cannot."""

    def __init__(self, batch_topics: frozenset[str]) -> None:
        super().__init__()
        self._batch_topics = batch_topics

    def __missing__(self, tp: TP) -> None:
        return None

    def __setitem__(self, tp: TP, offset: int | None) -> None:
        if tp.topic not in self._batch_topics:
            super().__setitem__(tp, offset)


class Consumer(driver.Consumer):
    """Yields chunks, and commits the offsets of the tracker."""

    RebalanceListener: ClassVar[type[driver.ConsumerRebalanceListener]] = RebalanceListener
    _thread: ConsumerThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.tracker = Tracker()
        super().__init__(*args, **kwargs)
        self.batch_app = cast(BatchApp, self.app)
        self._thread.tracker = self.tracker
        self._thread.batch_app = self.batch_app
        self._read_offset = _ReadOffsets(self.batch_app.batch_topics)
        self._chunk_ended = asyncio.Event()
        self._uncommitted_since_s: float | None = None

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Watch streams for progress. No stream reads a changelog: Faust would warn about each."""
        if tp.topic in self.batch_app.batch_topics:
            super().verify_event_path(now, tp)

    async def progress(self, tp: TP) -> Progress:
        """How far a partition is read."""
        return await self._thread.progress(tp)

    def on_buffer_full(self, tp: TP) -> None:
        """Do nothing: a full queue blocks the fetcher; pausing partitions makes it sleep a second."""

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Message]]:  # noqa: ASYNC109
        """Yield fetched chunks and records, one of each partition in turn.

        All chunks are registered with the tracker before the first is yielded, so that one which is never
        delivered holds the commit back.
        """
        try:
            records, active = await self._wait_next_records(timeout)
        except PositionLost as exc:
            self.batch_app.stop_process(exc)
            raise
        fetch = cast(Fetch, records or {})
        generation_id = self.app.consumer_generation_id
        waiting = {tp: self._messages(tp, fetch) for tp in fetch}
        undelivered: dict[TP, tuple[int, int]] = {}
        while waiting and not self.should_stop:
            moved_on = not self.flow_active or self.app.consumer_generation_id != generation_id
            for tp, messages in list(waiting.items()):
                message = next(messages, None)
                if message is None:
                    del waiting[tp]
                elif moved_on or (active is not None and tp not in active):
                    undelivered[tp] = fetch[tp].epoch, message.offset
                    del waiting[tp]
                elif fetch[tp].epoch != self.tracker.epoch(tp):
                    del waiting[tp]
                else:
                    self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
                    yield tp, message
                    moved_on = not self.flow_active or self.app.consumer_generation_id != generation_id
        if undelivered:
            await self._read_again(undelivered)

    def _messages(self, tp: TP, fetch: Fetch) -> Iterator[ConsumerMessage]:
        epoch, records = fetch[tp]
        if tp.topic not in self.batch_app.batch_topics:
            return (self._to_message(tp, record) for record in records)
        messages = []
        for piece in cut(records, self.batch_app.chunk_limits):
            ref = self.tracker.fetched(tp, epoch, piece[0].offset, piece[-1].offset)
            if ref is not None:
                messages.append(self._chunk_message(tp, Chunk(ref, piece)))
        return iter(messages)

    def _chunk_message(self, tp: TP, chunk: Chunk) -> ConsumerMessage:
        last = chunk.fetched[-1]
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            last.offset,
            last.timestamp / 1000.0,
            0,
            None,
            None,
            cast(bytes, chunk),  # passes through Faust's `raw` codec untouched
            None,
            0,
            0,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    async def _read_again(self, undelivered: dict[TP, tuple[int, int]]) -> None:
        """Read undelivered records again, unless a rebalance ended their epochs: it seeks by itself."""
        here = {tp: at for tp, at in undelivered.items() if at[0] == self.tracker.epoch(tp)}
        single = {tp: at for tp, at in here.items() if tp.topic not in self.batch_app.batch_topics}
        if single:
            await self._thread.read_again(single)
        if len(single) < len(here):
            await self.perform_seek()

    async def perform_seek(self) -> None:
        """Seek the batch topics' partitions to the committed offset, or to their beginning."""
        try:
            committed = await self._thread.seek_batches_to_committed()
        except PositionLost as exc:
            self.batch_app.stop_process(exc)
            raise
        self._committed_offset.update(committed)

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Do nothing: an offset without a record was never handed out."""

    def ack(self, message: Message) -> bool:
        """Count a chunk as done. `False` when the ack came too late: the chunk is repeated."""
        chunk = cast(object, message.value)
        if not isinstance(chunk, Chunk):
            return super().ack(message)
        message.acked = True
        self._unacked_messages.discard(message)
        self._chunk_ended.set()
        counts = self.tracker.done(chunk.ref)
        if counts and self._uncommitted_since_s is None:
            self._uncommitted_since_s = monotonic()
        return counts

    def uncommitted_s(self) -> float:
        """Age of the oldest ack without a commit; callable from any thread."""
        since_s = self._uncommitted_since_s
        return 0.0 if since_s is None else monotonic() - since_s

    async def _commit_offsets(self, offsets: Mapping[TP, int], start_new_transaction: bool = True) -> bool:
        since_s, self._uncommitted_since_s = self._uncommitted_since_s, None
        reach("stream.before_commit")
        committed = await super()._commit_offsets(offsets, start_new_transaction)
        reach("stream.committed")
        if not committed:
            # Rejected, since the group has a newer generation: none of it counts as committed.
            self._uncommitted_since_s = since_s
            for tp in offsets:
                self._committed_offset.pop(tp, None)
        return committed

    def _filter_tps_with_pending_acks(self, topics: TPorTopicSet | None = None) -> Iterator[TP]:
        tps = cast(list[TP], self.tracker.partitions())
        return (tp for tp in tps if topics is None or tp in topics or tp.topic in topics)

    def _new_offset(self, tp: TP) -> int | None:
        return self.tracker.committable(tp)

    async def wait_empty(self) -> None:
        """Wait for the chunk in flight, for a limited time, then commit what is done.

        Faust calls it (`stream_wait_empty`) before partitions are revoked and before it stops, when no
        further chunk can be begun.
        """
        deadline_s = monotonic() + IN_FLIGHT_WAIT_S_MAX
        while self.tracker.in_flight() and (remaining_s := deadline_s - monotonic()) > 0:
            self._chunk_ended.clear()
            try:
                await asyncio.wait_for(self._chunk_ended.wait(), remaining_s)
            except TimeoutError:
                break
        while not await self._commit_now():
            pass

    async def _commit_now(self) -> bool:
        # A commit in flight may have been computed before the last ack.
        if await self.maybe_wait_for_commit_to_finish():
            return False
        await self.commit()
        return True

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Commit what is done (Faust does it by `wait_empty`), then ignore later acks."""
        await super().on_partitions_revoked(revoked)
        self.tracker.forget(revoked)
        self._uncommitted_since_s = None


class Transport(driver.Transport):
    """Selected by the scheme `batch`."""

    Consumer: ClassVar[type[ConsumerT]] = Consumer
