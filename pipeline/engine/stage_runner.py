"""Runs a stage: takes chunks from Faust, processes them, makes the results durable, and acks last.

The order is in `StageRunner._run_chunk`:

    process -> deliver outputs, dead letters and changelog -> all acknowledged -> write state -> ack

Keys of the stage's tables that have expired are deleted with the next chunk of their partition: tombstones
are delivered with its changelog, and the deletions are in its write. So expiry needs no task of its own and
no further wait, and follows the time of the records: a worker that is behind does not forget ahead of them.

A process that dies in between processes the chunk again, and a repeated chunk gives the same results. No
exception may skip a chunk, since Faust would continue with the next one. A chunk that fails is repeated in
place, or left to another worker, or the process ends.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple, Protocol

import msgspec

from pipeline.engine import metrics
from pipeline.engine.batch_producer import Delivered, DeliveryFailed, Outgoing
from pipeline.engine.bisect import StateUnreadable, process
from pipeline.engine.chunk import Chunk
from pipeline.engine.crash_memory import DEATHS_MAX, CrashMemory
from pipeline.engine.envelope import OFFSET_HEADER, offset_bytes, seal
from pipeline.engine.offset_tracker import ChunkRef, Tracker
from pipeline.engine.store import NOTHING_DUE, Appended, BatchStore, Due, NotAssigned
from pipeline.runtime.backoff import Backoff
from pipeline.runtime.clock import now_ms
from pipeline.runtime.crash_points import reach
from pipeline.runtime.record import Output, Poison, Record
from pipeline.stages.contract import Stage, StageResult

log = logging.getLogger(__name__)

RETRY_FIRST_S = 0.2
RETRY_MAX_S = 10.0
RETRY_JITTER_RATIO = 0.3
EXPIRED_PER_RECORD_MAX = 2  # keys deleted with a chunk: more than it can add, so that expiry keeps up


class Producer(Protocol):
    """The method of `pipeline.engine.batch_producer.BatchProducer` that the runner uses."""

    async def deliver(
        self, records: Sequence[Outgoing], positioned: Sequence[Outgoing] = ()
    ) -> Mapping[tuple[str, int], Delivered]: ...


class Limits(msgspec.Struct, frozen=True):
    """Bounds of a runner."""

    output_bytes_max: int
    # After a chunk that took longer, stopped time included, the partition may be another worker's: before
    # anything is sent or written the runner waits until a heartbeat could fail.
    suspicious_s: float
    heartbeat_wait_s: float
    log_start_age_s_max: float = 10.0  # of the source's first offset; an older one only lets keys stay longer


class StateTable(NamedTuple):
    """A table of the stage: its store, the physical name of its changelog, and how long it keeps a key.

    `retention_ms` counts from the time of the key's last written record; None keeps keys for ever.
    """

    store: BatchStore
    changelog: str
    retention_ms: int | None = None


class Abandoned(Exception):
    """The chunk's partition was revoked: the worker that has it now reads the chunk again."""


class StageRunner:
    """Runs one stage. Call `run` with the stream of its source topic."""

    def __init__(
        self,
        stage: Stage,
        *,
        tables: Mapping[str, StateTable],
        producer: Producer,
        tracker: Callable[[], Tracker],
        highwater: Callable[[Any], int],
        dead_letter: Callable[[Poison], Output],
        crash_dir: Path,
        limits: Limits,
        log_start: Callable[[Any], Awaitable[int]],
        now_ms: Callable[[], int] = now_ms,
        clock: Callable[[], float] = monotonic,
        sleep: Callable[[float], Any] = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self.stage = stage
        self.failing_since: float | None = None  # when sends began to fail; for readiness
        self._tables = tables
        self._producer = producer
        self._tracker = tracker
        self._highwater = highwater
        self._dead_letter = dead_letter
        self._crash_dir = crash_dir
        self._crash_memories: dict[int, CrashMemory] = {}
        self._limits = limits
        self._log_start = log_start
        self._log_starts: dict[Any, tuple[int, float]] = {}  # of a partition: its first offset, read when
        self._held: dict[tuple[str, Any], int] = {}  # the start at which no entry of a table could be used
        self._now_ms = now_ms
        self._clock = clock
        self._sleep = sleep
        self._rng = rng or random.Random()
        # There from the start: a rate does not see a first event that also brings its series.
        for metric in (metrics.RECORDS, metrics.POISON, metrics.DELIVERY_FAILURES, metrics.ABANDONED):
            metric.labels(stage.name)

    async def run(self, stream: Any) -> None:
        """Run until cancelled. An exception must end the process: Faust would skip the chunk."""
        # Without `noack` Faust acks in a `finally`, including chunks that failed or were cancelled.
        events: AsyncIterator[Any] = stream.noack().events()
        async for event in events:
            chunk: Chunk = event.value
            if not self._tracker().begin(chunk.ref):
                continue
            try:
                await self._run_chunk(chunk)
            except (Abandoned, NotAssigned):
                metrics.ABANDONED.labels(self.stage.name).inc()
                continue
            event.ack()
            reach("stream.acked")

    async def _run_chunk(self, chunk: Chunk) -> None:
        reach("stream.begun")
        began_s = self._clock()
        name = self.stage.name
        partition = chunk.ref.tp.partition
        memory = self._crash_memory(partition)
        records = chunk.records()
        result = self._process(records, partition, memory)
        processed_s = self._clock()
        reach("stream.processed")

        values = _last_of_each(result)
        at_ms = max(record.timestamp_ms for record in records)
        due = await self._due(chunk.ref, at_ms, len(records), values)
        await self._check_assigned(chunk.ref, began_s)
        checked_s = self._clock()
        delivered = await self._deliver(chunk.ref, result, values, due)
        delivered_s = self._clock()
        reach("stream.delivered")

        await self._check_assigned(chunk.ref, checked_s)
        for table in {**values, **due}:
            self._write(
                table, values.get(table, {}), chunk.ref, delivered, at_ms, due.get(table, NOTHING_DUE)
            )
        memory.survived(chunk.ref.last)
        reach("stream.written")

        metrics.PROCESS_SECONDS.labels(name).observe(processed_s - began_s)
        metrics.DELIVER_SECONDS.labels(name).observe(delivered_s - processed_s)
        metrics.WRITE_SECONDS.labels(name).observe(self._clock() - delivered_s)
        metrics.RECORDS.labels(name).inc(len(records))
        metrics.CHUNKS.labels(name).inc()
        metrics.CHUNK_RECORDS.labels(name).observe(len(records))
        metrics.OUTPUTS.labels(name).inc(len(result.outputs))
        metrics.POISON.labels(name).inc(len(result.poison))
        behind = self._highwater(chunk.ref.tp) - chunk.ref.last - 1
        metrics.LAG.labels(chunk.ref.tp.topic, partition).set(max(0, behind))

    def _process(self, records: Sequence[Record], partition: int, memory: CrashMemory) -> StageResult:
        def read(table: str, keys: list[bytes]) -> list[bytes | None]:
            return self._tables[table].store.get_many(partition, keys)

        plan = memory.plan(records)
        try:
            result = process(self.stage, memory.units(plan), read, self._limits.output_bytes_max)
        except StateUnreadable as exc:
            if isinstance(exc.__cause__, NotAssigned):
                raise exc.__cause__ from None
            raise
        given_up = [
            Poison(record, f"the process died {DEATHS_MAX} times with this record in flight", self.stage.name)
            for record in plan.given_up
        ]
        return StageResult(result.outputs, result.puts, result.poison + given_up)

    async def _due(
        self, ref: ChunkRef, at_ms: int, records: int, values: Mapping[str, Mapping[bytes, bytes | None]]
    ) -> dict[str, Due]:
        """What has expired of each table, less the keys that the chunk writes. Tables without any are absent.

        Time is the records' own, at most the clock's: an edge whose clock is ahead must not expire keys.
        """
        found: dict[str, Due] = {}
        partition = ref.tp.partition
        for name, table in self._tables.items():
            if table.retention_ms is None:
                continue
            before_ms = min(at_ms, self._now_ms()) - table.retention_ms
            if not table.store.has_due(partition, before_ms):
                continue
            log_start = await self._log_start_of(ref.tp)
            if self._held.get((name, ref.tp)) == log_start:
                continue  # the oldest entry could not be used at this start either
            due = table.store.due(partition, before_ms, log_start, EXPIRED_PER_RECORD_MAX * records)
            metrics.EXPIRY_HELD.labels(name, partition).set(due.held)
            if due.held and not due.entries:
                self._held[name, ref.tp] = log_start
            if due.entries:
                puts = values.get(name, {})
                keys = {key: offset for key, offset in due.keys.items() if key not in puts}
                found[name] = due._replace(keys=keys)
        return found

    async def _log_start_of(self, tp: Any) -> int:
        """The first offset that the source's partition has, as of at most `log_start_age_s_max` ago."""
        offset, at_s = self._log_starts.get(tp, (0, float("-inf")))
        if self._clock() - at_s > self._limits.log_start_age_s_max:
            try:
                offset = await self._log_start(tp)
            except Exception as exc:  # without it nothing expires, and everything else goes on
                log.warning("the first offset of %s is unknown (%r); no key of it expires now", tp, exc)
            self._log_starts[tp] = offset, self._clock()
        return offset

    async def _deliver(
        self,
        ref: ChunkRef,
        result: StageResult,
        values: Mapping[str, Mapping[bytes, bytes | None]],
        due: Mapping[str, Due],
    ) -> Mapping[tuple[str, int], Delivered]:
        """Send everything, with retries until it is acknowledged. Raises `DeliveryRejected`, `Abandoned`."""
        outputs = [*result.outputs, *map(self._dead_letter, result.poison)]
        records = [Outgoing(output.topic, output.key, output.value) for output in outputs]
        changelog = [
            _changelog_record(self._tables[table].changelog, ref, key, value)
            for table, puts in values.items()
            for key, value in puts.items()
        ]
        changelog += [
            _tombstone(self._tables[table].changelog, ref, key, reflects)
            for table, expired in due.items()
            for key, reflects in expired.keys.items()
        ]
        delays_s = self._retry_delays_s()
        while True:
            try:
                delivered = await self._producer.deliver(records, changelog)
                self.failing_since = None
                return delivered
            except DeliveryFailed:
                metrics.DELIVERY_FAILURES.labels(self.stage.name).inc()
                self.failing_since = self.failing_since or self._clock()
            await self._sleep(next(delays_s))
            if not self._tracker().is_current(ref):
                self.failing_since = None
                raise Abandoned

    def _write(
        self,
        table: str,
        puts: Mapping[bytes, bytes | None],
        ref: ChunkRef,
        delivered: Mapping[tuple[str, int], Delivered],
        at_ms: int,
        due: Due,
    ) -> None:
        store, changelog, _ = self._tables[table]
        records = delivered.get((changelog, ref.tp.partition))  # None: only entries of the index are dropped
        appended = None if records is None else Appended(*records)
        if not store.write(ref.tp.partition, puts, ref.last, appended, at_ms, due):
            metrics.FOREIGN_APPENDS.labels(table).inc()
        metrics.EXPIRED.labels(table).inc(len(due.keys))

    async def _check_assigned(self, ref: ChunkRef, since_s: float) -> None:
        """Raise `Abandoned` when the partition was revoked meanwhile.

        While a partition is being revoked, its chunk in flight may still end. But a process that was stopped
        (SIGSTOP, a paused machine) detects only by its first heartbeat that another worker has the partition.
        """
        tracker = self._tracker()
        was_stopped = self._clock() - since_s > self._limits.suspicious_s
        if was_stopped:
            await self._sleep(self._limits.heartbeat_wait_s)
        if not tracker.is_current(ref) or (was_stopped and tracker.epoch(ref.tp) != ref.epoch):
            raise Abandoned

    def _retry_delays_s(self) -> Iterator[float]:
        backoff = Backoff(RETRY_FIRST_S, RETRY_MAX_S, RETRY_JITTER_RATIO, self._rng)
        while True:
            yield backoff.after_failure_s()

    def _crash_memory(self, partition: int) -> CrashMemory:
        memory = self._crash_memories.get(partition)
        if memory is None:
            path = self._crash_dir / self.stage.name / str(partition)
            memory = self._crash_memories[partition] = CrashMemory(path)
        return memory


def _last_of_each(result: StageResult) -> dict[str, dict[bytes, bytes | None]]:
    values: dict[str, dict[bytes, bytes | None]] = {}
    for put in result.puts:
        values.setdefault(put.table, {})[put.key] = put.value
    return values


def _changelog_record(topic: str, ref: ChunkRef, key: bytes, value: bytes | None) -> Outgoing:
    if value is None:
        return _tombstone(topic, ref, key, ref.last)
    return Outgoing(topic, key, seal(ref.last, value), ref.tp.partition)


def _tombstone(topic: str, ref: ChunkRef, key: bytes, reflects: int) -> Outgoing:
    return Outgoing(topic, key, None, ref.tp.partition, ((OFFSET_HEADER, offset_bytes(reflects)),))
