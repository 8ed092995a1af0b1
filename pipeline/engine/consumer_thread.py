"""The consumer's thread: it owns where each partition is read, and notices when records are missing.

aiokafka runs in a thread of its own, so that heartbeats go on while a stage computes. Every jump of a
position is made here, and told to the tracker *before* it happens; records leave here together with the
epoch they were read in. So no record from before a jump can pass for one from after it.

A batch partition only ever jumps to what is committed (or to its beginning): an epoch that began further on
could commit past chunks of the epoch before it.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from time import monotonic
from typing import Any, NamedTuple, Protocol, cast

from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, ConsumerStoppedError, IllegalStateError
from aiokafka.structs import OffsetAndMetadata
from faust.transport.consumer import ensure_TP
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread
from faust.types import TP

from pipeline.engine.chunk import ChunkLimits, FetchedRecord
from pipeline.engine.offset_tracker import Tracker

POLL_RECORDS_MAX = 10_000  # one hand-over to the main thread: bounds memory, shares its cost
# The broker gathers this much, or for this long, before it answers a fetch: both a fetch and a chunk have a
# cost of their own, whatever they hold. It is what each stage adds to the delay of a record at most.
FETCH_BYTES_MIN = 65_536
FETCH_WAIT_MS = 50
IDLE_WAIT_S = 0.02  # how long a fetch rests when there is nothing it may fetch


class PositionLost(Exception):
    """The broker does not hold the record at a partition's position any more."""

    def __init__(self, tp: TP, position: int, first: int, end: int) -> None:
        super().__init__(
            f"data loss: {tp.topic}[{tp.partition}] should go on at offset {position}, but the broker "
            f"holds {first} to {end}. Find out what was lost and why (retention too short? another topic?), "
            f"then set the group's offset by hand"
        )


class BatchApp(Protocol):
    """What the transport asks of the app besides Faust's own."""

    batch_topics: frozenset[str]
    chunk_limits: ChunkLimits

    def stop_process(self, reason: BaseException) -> None:
        """End the process without another ack. Does not return."""


class Fetched(NamedTuple):
    """Records drained from one partition, with the epoch they were read in."""

    epoch: int
    records: Sequence[FetchedRecord]


Fetch = dict[TP, Fetched]


class ConsumerThread(AIOKafkaConsumerThread):
    """aiokafka's thread, with explicit positions for the batch topics."""

    tracker: Tracker
    batch_app: BatchApp

    def __post_init__(self) -> None:
        super().__post_init__()
        # The offset that must come next. A batch partition that is not in here has not been positioned since
        # it was assigned, and is not read.
        self._next: dict[TP, int] = {}

    def _create_worker_consumer(self, transport: Any) -> Any:
        # Faust has no settings for these.
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_min_bytes = FETCH_BYTES_MIN
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        return consumer

    def revoking(self, tps: Iterable[TP]) -> None:
        """Refuse from now on what was fetched so far, and read no more of it."""
        for tp in tps:
            self.tracker.moved(tp)
            self._next.pop(tp, None)

    async def _fetch_records(  # type: ignore[override]
        self,
        consumer: Any,
        active_partitions: set[TP] | None,
        timeout: float | None = None,  # noqa: ASYNC109
        max_records: int | None = None,
    ) -> Fetch:
        fetcher = consumer._fetcher
        deadline_s = monotonic() + (timeout or 0.0)
        while True:
            if consumer._closed or fetcher._closed:
                raise ConsumerStoppedError
            if not self.consumer.flow_active or fetcher._subscriptions.reassignment_in_progress:
                await asyncio.sleep(IDLE_WAIT_S)
                return {}
            # The given set belongs to the main thread and changes under us; and aiokafka takes an empty one
            # for "all partitions".
            wanted = frozenset(tp for tp in tuple(active_partitions or ()) if self._is_positioned(tp))
            if wanted and (fetch := await self._drain(fetcher, wanted)):
                return fetch
            remaining_s = deadline_s - monotonic()
            if remaining_s <= 0:
                return {}
            if not wanted:
                await asyncio.sleep(min(IDLE_WAIT_S, remaining_s))
                continue
            waiter = fetcher._create_fetch_waiter()
            done, _ = await asyncio.wait([waiter], timeout=remaining_s)
            if done:
                waiter.result()  # raises what only the background fetch saw, such as a missing permission
            else:
                waiter.cancel()

    def _is_positioned(self, tp: TP) -> bool:
        return tp.topic not in self.batch_app.batch_topics or tp in self._next

    async def _drain(self, fetcher: Any, wanted: frozenset[TP]) -> Fetch:
        with fetcher._subscriptions.fetch_context():
            # Without a time-out this does not suspend, so no jump comes between the records and their epochs.
            drained = await fetcher.fetched_records(wanted, timeout=0, max_records=POLL_RECORDS_MAX)
        fetch: Fetch = {}
        unexpected: list[tuple[TP, int, int]] = []
        for aiokafka_tp, records in drained.items():
            tp = ensure_TP(aiokafka_tp)
            fetch[tp] = Fetched(self.tracker.epoch(tp), records)
            position = self._next.get(tp)
            if position is not None:
                if records[0].offset != position:
                    unexpected.append((tp, position, records[0].offset))
                self._next[tp] = records[-1].offset + 1
        if unexpected:
            await self._check_nothing_lost(unexpected)
        return fetch

    async def _check_nothing_lost(self, unexpected: Sequence[tuple[TP, int, int]]) -> None:
        # A gap alone says nothing: compaction and the ends of transactions leave some. But aiokafka is told
        # to begin at the earliest where there is no offset, and silently does so, too, when one is out of
        # range.
        consumer = self._ensure_consumer()
        begins = await consumer.beginning_offsets([tp for tp, _, _ in unexpected])
        for tp, position, first in unexpected:
            if first < position or begins[tp] > position:
                ends = await consumer.end_offsets([tp])
                raise PositionLost(tp, position, begins[tp], ends[tp])

    async def seek_batches_to_committed(self) -> dict[TP, int | None]:
        """Position all assigned partitions of the batch topics: where committed, else at their beginning.

        Returns the committed offsets. Raises `PositionLost` when the broker does not hold one.
        """
        return cast("dict[TP, int | None]", await self.call_thread(self._seek_batches_to_committed))

    async def _seek_batches_to_committed(self) -> dict[TP, int | None]:
        consumer = self._ensure_consumer()
        tps = [tp for tp in self.assignment() if tp.topic in self.batch_app.batch_topics]
        if not tps:
            return {}
        committed: dict[TP, int | None] = {tp: await consumer.committed(tp) for tp in tps}
        begins = await consumer.beginning_offsets(tps)
        ends = await consumer.end_offsets(tps)
        for tp, offset in committed.items():
            if offset is not None and not begins[tp] <= offset <= ends[tp]:
                raise PositionLost(tp, offset, begins[tp], ends[tp])
        for tp in self.assignment().intersection(tps):
            offset = committed[tp]
            self._jump(tp, begins[tp] if offset is None else offset)
        return committed

    def _jump(self, tp: TP, offset: int) -> None:
        self.tracker.moved(tp)
        if tp.topic in self.batch_app.batch_topics:
            self._next[tp] = offset
        self._ensure_consumer().seek(tp, offset)

    async def _seek_wait(self, consumer: Any, partitions: Mapping[TP, int]) -> None:
        for tp in partitions:
            self.tracker.moved(tp)
        await super()._seek_wait(consumer, partitions)

    def seek(self, partition: TP, offset: int) -> None:
        """Seek one partition, from any thread."""
        self._jump(ensure_TP(partition), offset)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit; `False` when the group has moved on, in which case somebody else goes on from before.

        Faust means to do so, but compares with a message that aiokafka breaks over lines, and crashes.
        """
        consumer = self._ensure_consumer()
        ours = {
            TopicPartition(*tp): OffsetAndMetadata(offset, "")
            for tp, offset in offsets.items()
            if tp in self.assignment()
        }
        try:
            await consumer.commit(ours)
        except (CommitFailedError, IllegalStateError) as exc:
            self.log.info("Not committed, since the group has moved on: %s", type(exc).__name__)
            return False
        except Exception as exc:
            self.log.exception("Committing raised exception: %r", exc)
            await self.crash(exc)
            return False
        now_s = monotonic()
        self.tp_last_committed_at.update(dict.fromkeys(offsets, now_s))
        return bool(ours)

    def highwater(self, tp: TP) -> int:
        """The offset after the last record of a partition; 0 when it is not known or not ours any more."""
        try:
            return super().highwater(tp) or 0
        except IllegalStateError:
            return 0

    async def read_again(self, undelivered: Mapping[TP, tuple[int, int]]) -> None:
        """Go back to the (epoch, offset) of partitions read singly, unless they have jumped since."""
        await self.call_thread(self._read_again, undelivered)

    async def _read_again(self, undelivered: Mapping[TP, tuple[int, int]]) -> None:
        for tp, (epoch, offset) in undelivered.items():
            if epoch == self.tracker.epoch(tp) and tp in self.assignment():
                self._jump(tp, offset)
                self.consumer._read_offset[tp] = offset or None
