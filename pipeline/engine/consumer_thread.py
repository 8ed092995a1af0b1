"""The consumer's thread: sets the offset at which each partition is read, and detects missing records.

aiokafka runs in a thread of its own, so that heartbeats continue while a stage computes. Every jump of a
partition is made here, and recorded in the tracker *before* it happens; records leave this thread together
with the epoch in which they were read. So a record from before a jump is never taken for one from after it.

A batch partition jumps only to its committed offset, or to its beginning: an epoch that began after that
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

POLL_RECORDS_MAX = 10_000  # of one hand-over to the main thread: bounds its memory, and shares its cost
# The broker answers a fetch once it has this much, or after this long: a fetch and a chunk have a fixed cost.
# Each stage adds at most this wait to the delay of a record.
FETCH_BYTES_MIN = 65_536
FETCH_WAIT_MS = 50
IDLE_WAIT_S = 0.02  # between two attempts to fetch while no partition may be fetched


class PositionLost(Exception):
    """The broker no longer has the record at the offset where a partition is to be read."""

    def __init__(self, tp: TP, position: int, first: int, end: int) -> None:
        super().__init__(
            f"data loss: {tp.topic}[{tp.partition}] must be read from offset {position}, but the broker has "
            f"{first} to {end}. Find the lost records and the cause (retention too short, topic recreated), "
            f"then set the group's offset by hand"
        )


class BatchApp(Protocol):
    """The attributes of the app that the transport uses, besides Faust's."""

    batch_topics: frozenset[str]
    chunk_limits: ChunkLimits

    def stop_process(self, reason: BaseException) -> None:
        """End the process without another ack. Does not return."""


class Fetched(NamedTuple):
    """Records drained from one partition, with the epoch they were read in."""

    epoch: int
    records: Sequence[FetchedRecord]


Fetch = dict[TP, Fetched]


class Progress(NamedTuple):
    """The next offset to fetch, and the last record that left the consumer's thread since the last jump.

    Records up to `drained` may still be on their way to who takes them.
    """

    position: int
    drained: int | None


class ConsumerThread(AIOKafkaConsumerThread):
    """aiokafka's thread, with explicit positions for the batch topics."""

    tracker: Tracker
    batch_app: BatchApp

    def __post_init__(self) -> None:
        super().__post_init__()
        # The offset that must come next. A batch partition without an entry has not been sought since it was
        # assigned, and is not read.
        self._next: dict[TP, int] = {}
        # The last record that left this thread, by partition, since the partition's last jump.
        self._drained: dict[TP, int] = {}

    def _create_worker_consumer(self, transport: Any) -> Any:
        # Faust has no settings for these.
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_min_bytes = FETCH_BYTES_MIN
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        return consumer

    def revoking(self, tps: Iterable[TP]) -> None:
        """Make what was fetched so far invalid, and read no more of these partitions."""
        for tp in tps:
            self.tracker.moved(tp)
            self._next.pop(tp, None)
            self._drained.pop(tp, None)

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
            # The given set belongs to the main thread, which changes it meanwhile; aiokafka reads an empty
            # set as "all partitions".
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
                waiter.result()  # raises errors of the background fetch, such as a missing permission
            else:
                waiter.cancel()

    def _is_positioned(self, tp: TP) -> bool:
        return tp.topic not in self.batch_app.batch_topics or tp in self._next

    async def _drain(self, fetcher: Any, wanted: frozenset[TP]) -> Fetch:
        with fetcher._subscriptions.fetch_context():
            # Without a time-out this does not suspend, so no jump happens between records and epochs.
            drained = await fetcher.fetched_records(wanted, timeout=0, max_records=POLL_RECORDS_MAX)
        fetch: Fetch = {}
        unexpected: list[tuple[TP, int, int]] = []
        for aiokafka_tp, records in drained.items():
            tp = ensure_TP(aiokafka_tp)
            fetch[tp] = Fetched(self.tracker.epoch(tp), records)
            self._drained[tp] = records[-1].offset
            position = self._next.get(tp)
            if position is not None:
                if records[0].offset != position:
                    unexpected.append((tp, position, records[0].offset))
                self._next[tp] = records[-1].offset + 1
        if unexpected:
            await self._check_nothing_lost(unexpected)
        return fetch

    async def _check_nothing_lost(self, unexpected: Sequence[tuple[TP, int, int]]) -> None:
        # A gap alone is no loss: compaction and the ends of transactions leave gaps. But aiokafka begins at
        # the earliest record where there is no offset, and does the same, without an error, where the offset
        # is out of range.
        consumer = self._ensure_consumer()
        begins = await consumer.beginning_offsets([tp for tp, _, _ in unexpected])
        for tp, position, first in unexpected:
            if first < position or begins[tp] > position:
                ends = await consumer.end_offsets([tp])
                raise PositionLost(tp, position, begins[tp], ends[tp])

    async def seek_batches_to_committed(self) -> dict[TP, int | None]:
        """Seek all assigned partitions of the batch topics to the committed offset, else to the beginning.

        Returns the committed offsets. Raises `PositionLost` when the broker does not have one.
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
        self._drained.pop(tp, None)
        if tp.topic in self.batch_app.batch_topics:
            self._next[tp] = offset
        self._ensure_consumer().seek(tp, offset)

    async def _seek_wait(self, consumer: Any, partitions: Mapping[TP, int]) -> None:
        for tp in partitions:
            self.tracker.moved(tp)
            self._drained.pop(tp, None)
        await super()._seek_wait(consumer, partitions)

    def seek(self, partition: TP, offset: int) -> None:
        """Seek one partition, from any thread."""
        self._jump(ensure_TP(partition), offset)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit; `False` when the group has a newer generation: another member reads from the offset before.

        Faust intends the same, but compares with a message that aiokafka breaks over lines, and crashes.
        """
        consumer = self._ensure_consumer()
        assigned = {
            TopicPartition(*tp): OffsetAndMetadata(offset, "")
            for tp, offset in offsets.items()
            if tp in self.assignment()
        }
        try:
            await consumer.commit(assigned)
        except (CommitFailedError, IllegalStateError) as exc:
            self.log.info("offsets not committed (%s): the group has a newer generation", type(exc).__name__)
            return False
        except Exception as exc:
            self.log.exception("Committing raised exception: %r", exc)
            await self.crash(exc)
            return False
        now_s = monotonic()
        self.tp_last_committed_at.update(dict.fromkeys(offsets, now_s))
        return bool(assigned)

    async def progress(self, tp: TP) -> Progress:
        """How far a partition is read, from any thread."""
        return cast(Progress, await self.call_thread(self._progress, tp))

    async def _progress(self, tp: TP) -> Progress:
        try:
            position = await self._ensure_consumer().position(tp)
        except IllegalStateError:  # not assigned any more
            return Progress(0, None)
        return Progress(position, self._drained.get(tp))

    def highwater(self, tp: TP) -> int:
        """The offset after the last record of a partition; 0 when it is unknown or not assigned any more."""
        try:
            return super().highwater(tp) or 0
        except IllegalStateError:
            return 0

    async def read_again(self, undelivered: Mapping[TP, tuple[int, int]]) -> None:
        """Seek partitions that are read by record back to (epoch, offset), unless they jumped since."""
        await self.call_thread(self._read_again, undelivered)

    async def _read_again(self, undelivered: Mapping[TP, tuple[int, int]]) -> None:
        for tp, (epoch, offset) in undelivered.items():
            if epoch == self.tracker.epoch(tp) and tp in self.assignment():
                self._jump(tp, offset)
                self.consumer._read_offset[tp] = offset or None
