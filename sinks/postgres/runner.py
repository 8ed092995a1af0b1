"""Runs one sink: poll, batch, write, commit, and recover from failures.

The offset moves in the transaction of the rows. After every failure the recovery is the same: discard the
batch, wait, read the offset from the tables, and continue from there.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

import psycopg

from pipeline.runtime.backoff import Backoff
from pipeline.runtime.clock import now_s
from pipeline.runtime.crash_points import reach
from pipeline.runtime.record import Record
from pipeline.topology.model import Sink as SinkPlan
from schemas.codec import Undecodable
from sinks.postgres import metrics, offsets
from sinks.postgres.connect import Connection
from sinks.postgres.dead_letter_producer import NotDelivered
from sinks.postgres.offsets import Move, Overtaken
from sinks.postgres.partitions import OutOfBounds, Partitions, is_missing_partition
from sinks.postgres.poison import describe, is_passing, write_without_poison
from sinks.postgres.sink import Arrival, Refused, Sink, WriteReport
from sinks.postgres.topic_reader import DataLoss, LogReader, Unreadable

Event = TypeVar("Event")
LOG = logging.getLogger(__name__)
HOLD_STEP_S = 0.2  # upper bound of the delay of a stop while the sink waits for a server
LAG_EVERY_S = 1.0
STEPS = ("undecodable", "out_of_bounds", "unwritable")  # at which a record may become a dead letter
IDLE_LOOK_EVERY_S = 3.0  # how often a sink without records reads its offsets from the tables


class Decoder(Protocol[Event]):  # type: ignore[misc]  # invariant in use: one runner, one event
    """Decodes bytes to an event. Raises `Undecodable`, and nothing else."""

    def decode(self, value: bytes | None) -> Event: ...


class Runner(Generic[Event]):
    """One sink in one thread: call `run` there; any thread may set its `stop`."""

    def __init__(
        self,
        sink: Sink[Event],
        plan: SinkPlan,
        *,
        decoder: Decoder[Event],
        reader: LogReader,
        connect: Callable[[], Connection],
        partitions: Partitions,
        refuse: Callable[[str, Sequence[Refused]], None],
        backoff: Backoff,
        wall_clock: Callable[[], float] = now_s,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`refuse(stage, records)` returns once they are durable dead letters, else raises `NotDelivered`.

        `wall_clock` tells how old a record is, and nothing else: a clock that is set back must not put off
        the next look at the tables.
        """
        self._sink = sink
        self._topic = plan.source.name
        self._decoder = decoder
        self._reader = reader
        self._connect = connect
        self._partitions = partitions
        self._refuse = refuse
        self._backoff = backoff
        self._wall_clock = wall_clock
        self._clock = clock
        self._connection: Connection | None = None
        self._next: dict[int, int] = {}
        self._lag_shown_at = float("-inf")
        self._looked_at = float("-inf")
        self._holding = True  # until the first access to the database
        # There from the start: a rate does not see a first event that also brings its series.
        metrics.RECORDS.labels(sink.name)
        for step in STEPS:
            metrics.REFUSED.labels(sink.name, step)

    @property
    def holding(self) -> bool:
        """Whether nothing can be stored now, because Postgres or Kafka is unavailable."""
        return self._holding or self._reader.cut_off

    def run(self, stop: threading.Event) -> None:
        """Run until `stop`; return with the current batch stored and the group left.

        Waits while Postgres or Kafka is unavailable. Raises `DataLoss` and every error that is not transient;
        the process should then end.
        """
        try:
            self._require_database(stop)
            while not stop.is_set():
                try:
                    self._step()
                except (psycopg.Error, Overtaken, Unreadable, NotDelivered) as error:
                    self._set_back(error, stop)
        finally:
            self._disconnect()
            self._reader.close()

    def _require_database(self, stop: threading.Event) -> None:
        """Connect before any partition is assigned, so that readiness is correct from the start."""
        while not stop.is_set():
            try:
                self._database()
                self._holding = False
                return
            except psycopg.Error as error:
                self._set_back(error, stop)

    def _step(self) -> None:
        if self._reader.must_start:
            self._start()
        records = self._reader.take()
        # Records taken before a rebalance are read again, from the offsets in the tables.
        if not self._reader.must_start:
            if batch := self._expected(records):
                self._store(batch)
            elif self._next:
                self._look()
        self._show_lag()

    def _start(self) -> None:
        """Start each partition at its offset. Raises `DataLoss` if the topic no longer has that offset."""
        self._next = {}
        connection = self._database()
        bounds = {partition: self._reader.bounds(partition) for partition in self._reader.assigned}
        known = offsets.read(connection, self._sink.name, self._topic)
        fresh = {p: low for p, (low, _) in bounds.items() if p not in known}
        if fresh:
            offsets.begin(connection, self._sink.name, self._topic, fresh)
            known = offsets.read(connection, self._sink.name, self._topic)
        for partition, (low, high) in bounds.items():
            if not low <= known[partition] <= high:
                raise DataLoss(
                    f"sink {self._sink.name}: {self._topic}[{partition}] continues at {known[partition]}, "
                    f"but the topic has {low} to {high}: records are lost. To accept it, delete this offset "
                    "from the table sink_offsets"
                )
        self._next = {partition: known[partition] for partition in bounds}
        self._reader.start_at(self._next)
        self._reader.publish_positions(self._next)
        self._went_well()

    def _look(self) -> None:
        """Check that the offsets in the tables are unchanged; those of a restored copy differ.

        Raises `Overtaken`.
        """
        if self._clock() - self._looked_at < IDLE_LOOK_EVERY_S:
            return
        known = offsets.read(self._database(), self._sink.name, self._topic)
        self._looked_at = self._clock()
        moved = [p for p, offset in self._next.items() if known.get(p) != offset]
        if moved:
            raise Overtaken(f"{self._topic}{moved} no longer stand where this process left them")

    def _expected(self, records: Sequence[Record]) -> list[Record]:
        """Return the records without those of an assignment that has ended."""
        upcoming = dict(self._next)
        batch = []
        for record in records:
            expected = upcoming.get(record.partition)
            if expected is not None and record.offset >= expected:
                batch.append(record)
                upcoming[record.partition] = record.offset + 1
        return batch

    def _store(self, records: Sequence[Record]) -> None:
        """Store rows, dead letters and offsets of the batch, all or none."""
        after = {record.partition: record.offset + 1 for record in records}
        moves = {p: Move(p, self._next[p], offset) for p, offset in after.items()}
        connection = self._database()
        arrivals, undecodable = self._decoded(records)
        arrivals, out_of_bounds = self._with_partitions(connection, arrivals)
        began = self._clock()

        reach("sink.taken")
        with connection.transaction():
            offsets.move(connection, self._sink.name, self._topic, moves)
            reach("sink.moved")
            report, poison = self._write(connection, arrivals)
            self._give_up(undecodable=undecodable, out_of_bounds=out_of_bounds, unwritable=poison)
            reach("sink.written")
        reach("sink.committed")

        self._next.update(after)
        self._reader.publish_positions(after)
        reach("sink.published")
        self._went_well()
        self._count(records, report, began)

    def _decoded(self, records: Sequence[Record]) -> tuple[list[Arrival[Event]], list[Refused]]:
        arrivals: list[Arrival[Event]] = []
        refused: list[Refused] = []
        for record in records:
            try:
                arrivals.append(Arrival(record, self._decoder.decode(record.value)))
            except Undecodable as error:
                refused.append(Refused(record, f"undecodable: {error}"))
        return arrivals, refused

    def _with_partitions(
        self, connection: Connection, arrivals: Sequence[Arrival[Event]]
    ) -> tuple[list[Arrival[Event]], list[Refused]]:
        """Create partitions outside of the batch's transaction: a creation must not wait for its own rows."""
        housed: list[Arrival[Event]] = []
        refused: list[Refused] = []
        for arrival in arrivals:
            for partition in self._sink.partitions(arrival.event):
                found = self._partitions.ensure(connection, partition)
                if isinstance(found, OutOfBounds):
                    refused.append(Refused(arrival.record, found.reason))
                    break
            else:
                housed.append(arrival)
        return housed, refused

    def _write(
        self, connection: Connection, arrivals: Sequence[Arrival[Event]]
    ) -> tuple[WriteReport, list[Refused]]:
        if not arrivals:
            return WriteReport(0, 0), []
        return write_without_poison(connection, self._sink, arrivals)

    def _give_up(self, **refused: Sequence[Refused]) -> None:
        together = [each for some in refused.values() for each in some]
        if not together:
            return
        self._refuse(f"sink:{self._sink.name}", together)
        reach("sink.rejected")
        for step, some in refused.items():
            metrics.REFUSED.labels(self._sink.name, step).inc(len(some))

    def _set_back(self, error: Exception, stop: threading.Event) -> None:
        """Discard the batch and wait, in the group without reading. Raises errors that are not transient."""
        cause = describe(error) if isinstance(error, psycopg.Error) else f"{type(error).__name__}: {error}"
        if isinstance(error, psycopg.Error):
            if not is_passing(error):
                raise error
            if is_missing_partition(error):
                self._partitions.forget()
        wait_s = self._backoff.after_failure_s()
        LOG.warning("sink %s: batch failed (%s); reading it again in %.1f s", self._sink.name, cause, wait_s)
        metrics.SETBACKS.labels(self._sink.name, type(error).__name__).inc()
        metrics.HOLDING.labels(self._sink.name).set(1)
        self._holding = True
        self._next = {}
        self._reader.hold()
        if self._connection is not None and (self._connection.broken or not is_idle(self._connection)):
            self._disconnect()
        until = time.monotonic() + wait_s
        while not stop.is_set() and (left := until - time.monotonic()) > 0:
            self._reader.wait(min(HOLD_STEP_S, left))

    def _went_well(self) -> None:
        self._backoff.after_success()
        metrics.HOLDING.labels(self._sink.name).set(0)
        self._holding = False

    def _database(self) -> Connection:
        if self._connection is None or self._connection.closed:
            connection = self._connect()
            self._sink.prepare(connection)
            self._connection = connection
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _count(self, records: Sequence[Record], report: WriteReport, began: float) -> None:
        metrics.RECORDS.labels(self._sink.name).inc(len(records))
        metrics.ROWS.labels(self._sink.name).inc(report.rows)
        metrics.REPEATS.labels(self._sink.name).inc(report.repeats)
        metrics.BATCH_S.labels(self._sink.name).observe(self._clock() - began)
        age_s = self._wall_clock() - max(record.timestamp_ms for record in records) / 1000
        metrics.AGE_S.labels(self._sink.name).set(max(0.0, age_s))

    def _show_lag(self) -> None:
        if self._clock() - self._lag_shown_at < LAG_EVERY_S:
            return
        self._lag_shown_at = self._clock()
        for partition, lag in self._reader.behind(self._next).items():
            metrics.LAG_RECORDS.labels(self._sink.name, str(partition)).set(lag)


def is_idle(connection: Connection) -> bool:
    """Return whether the failure left no transaction open."""
    return connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
