"""Faust's Kafka transport, with records in chunks and commits that never pass an unprocessed record.

`broker="batch://host:port"` selects it (entry point `faust.transports`). Topics in `app.batch_topics`
arrive as one message a chunk (`pipeline.engine.chunk`); everything else, changelogs above all, arrives record
by record as in Faust's own driver, of which this is a subclass. What differs from that, and why:

* `getmany` yields chunks and goes round the partitions chunk by chunk: none waits for another's backlog.
* Commits come from `pipeline.engine.offset_tracker`. Faust's own gap bookkeeping commits chunks that no
  worker processed, when partitions move under a live feed (`tests/faults/live_feed.py` shows it).
* Positions are explicit (`pipeline.engine.consumer_thread`): after each assignment a batch partition is read
  only once we have sought it to its committed offset, or to its beginning. Faust's seek leaves
  partitions without a commit where they happen to be, past what it fetched and dropped.
* Before partitions go, the chunk in hand may end, and what is done is committed. Both only save repeats.
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
from pipeline.engine.consumer_thread import BatchApp, ConsumerThread, Fetch, PositionLost
from pipeline.engine.offset_tracker import Tracker
from pipeline.runtime.crash_points import reach

IN_HAND_WAIT_S_MAX = 5.0  # a rebalance or stop waits so long for the chunk in hand; then it will be repeated


class RebalanceListener(driver.ConsumerRebalanceListener):
    """Ends epochs in the consumer's thread, before the main thread can hear of the rebalance."""

    def on_partitions_revoked(self, revoked: Iterable[Any]) -> Any:
        """Refuse what was fetched, then go on as usual."""
        cast(ConsumerThread, self._thread).revoking(ensure_TP(tp) for tp in revoked)
        return super().on_partitions_revoked(revoked)


class _ReadOffsets(dict[TP, int | None]):
    """Faust's record of what it read. For chunks it stays empty: epochs tell what is old, offsets cannot."""

    def __init__(self, batch_topics: frozenset[str]) -> None:
        super().__init__()
        self._batch_topics = batch_topics

    def __missing__(self, tp: TP) -> None:
        return None

    def __setitem__(self, tp: TP, offset: int | None) -> None:
        if tp.topic not in self._batch_topics:
            super().__setitem__(tp, offset)


class Consumer(driver.Consumer):
    """Yields chunks, and commits what the tracker says."""

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
        """Watch for streams that stand still. No stream reads a changelog: Faust would complain of each."""
        if tp.topic in self.batch_app.batch_topics:
            super().verify_event_path(now, tp)

    def on_buffer_full(self, tp: TP) -> None:
        """Do nothing: a full queue holds the fetcher up; pausing partitions makes it sleep a second."""

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Message]]:  # noqa: ASYNC109
        """Yield what was fetched, a chunk or record of each partition in turn.

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
        """Nearly always a rebalance has ended the epochs, and will seek. Otherwise nothing may be skipped."""
        here = {tp: at for tp, at in undelivered.items() if at[0] == self.tracker.epoch(tp)}
        single = {tp: at for tp, at in here.items() if tp.topic not in self.batch_app.batch_topics}
        if single:
            await self._thread.read_again(single)
        if len(single) < len(here):
            await self.perform_seek()

    async def perform_seek(self) -> None:
        """Seek the batch topics' partitions to what is committed, or to their beginning."""
        try:
            committed = await self._thread.seek_batches_to_committed()
        except PositionLost as exc:
            self.batch_app.stop_process(exc)
            raise
        self._committed_offset.update(committed)

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Do nothing: what is not in the log was never handed out."""

    def ack(self, message: Message) -> bool:
        """Count a chunk as done. `False` when the ack came too late to mean anything: it will be repeated."""
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
        """How long acks have been lying here without a commit; callable from any thread."""
        since_s = self._uncommitted_since_s
        return 0.0 if since_s is None else monotonic() - since_s

    async def _commit_offsets(self, offsets: Mapping[TP, int], start_new_transaction: bool = True) -> bool:
        since_s, self._uncommitted_since_s = self._uncommitted_since_s, None
        reach("stream.before_commit")
        committed = await super()._commit_offsets(offsets, start_new_transaction)
        reach("stream.committed")
        if not committed:
            # Refused, since the group has moved on: nothing of it counts as committed.
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
        """Let the chunk in hand end, for a limited time, then commit what is done.

        Faust calls it (`stream_wait_empty`) before partitions go and before it stops, when no further
        chunk can be begun.
        """
        deadline_s = monotonic() + IN_HAND_WAIT_S_MAX
        while self.tracker.in_hand() and (remaining_s := deadline_s - monotonic()) > 0:
            self._chunk_ended.clear()
            try:
                await asyncio.wait_for(self._chunk_ended.wait(), remaining_s)
            except TimeoutError:
                break
        while not await self._commit_now():
            pass

    async def _commit_now(self) -> bool:
        # A commit that is under way may have been computed before the last ack.
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
    """Faust finds it by the scheme `batch`."""

    Consumer: ClassVar[type[ConsumerT]] = Consumer
