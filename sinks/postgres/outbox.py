"""The outbox: events of changes in Postgres, written in their transaction and published to Kafka after it."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

import psycopg
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from pipeline.runtime.backoff import Backoff
from pipeline.runtime.crash_points import reach
from pipeline.runtime.kafka_clients import RECORD_OVERHEAD_BYTES
from pipeline.topology.model import Topology
from sinks.postgres import metrics
from sinks.postgres.connect import Connection
from sinks.postgres.copy import copy_rows
from sinks.postgres.dead_letter_producer import DELIVERY_TIMEOUT_MS, NotDelivered
from sinks.postgres.named_rows import fetch
from sinks.postgres.own_events import not_of_tenant
from sinks.postgres.poison import describe, is_passing
from sinks.postgres.queries import load_queries

LOG = logging.getLogger(__name__)
QUERIES = load_queries(Path(__file__).with_name("outbox.sql"))
LEADER_LOCK_ID = 7_165_002
LEAD_RETRY_S = 1.0  # how often a second publisher checks whether the first has ended
MEASURE_EVERY_S = 5.0
DEPTH_COUNTED_MAX = 100_000

ASIDE_S = 30.0  # how long an event that Kafka does not take is left out, so that others are published

TOO_LARGE = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE)
GUARDED_ROLE = "delivery_events"  # the topic whose end the guard watches


class Row(NamedTuple):
    """An event that waits in the outbox; `topic` is a role of the topology."""

    id: int
    topic: str
    key: bytes
    value: bytes | None
    tenant_id: str | None = None  # of the tenant API: whose change it is


class _Depth(NamedTuple):
    waiting: int
    age_s: float


Ranges = dict[int, tuple[int, int]]
"""Partition -> first offset and the one after the last, of what was delivered."""


class _Report(NamedTuple):
    """`failures`: id of a row and the cause; `too_large`: for its topic; every other row was acknowledged."""

    failures: Mapping[int, str]
    too_large: frozenset[int]
    ranges: Ranges


@dataclass(frozen=True)
class _Found:
    """What becomes of rows while they are delivered. `too_large`: some of `failures`."""

    failures: dict[int, str]
    too_large: set[int]
    ranges: Ranges


class Guard(Protocol):
    """What `sinks.postgres.restore.guard` does for the publisher that leads."""

    def verify(self, connection: Connection) -> None: ...
    def renew(self, connection: Connection) -> None: ...
    def published(self, connection: Connection, ranges: Ranges) -> bool: ...


def enqueue(connection: Connection, role: str, key: bytes, value: bytes | None) -> None:
    """Add an event, within the transaction of the change.

    - `role` is a topic of the topology; a value of None is a tombstone.
    - Lock the object of `key` first: that keeps the order of its events.
    """
    connection.execute(QUERIES["enqueue"], [role, key, value])


def enqueue_all(connection: Connection, role: str, events: Iterable[tuple[bytes, bytes]]) -> None:
    """Add many events like `enqueue`, in the order given."""
    rows = ((role, key, value) for key, value in events)
    copy_rows(connection, QUERIES["enqueue_copy"], ["text", "bytea", "bytea"], rows)


class Publisher:
    """Moves the outbox to Kafka, in order, at least once; one process at a time does so.

    A row is deleted only after its delivery report. A row that fails is sent again, with every later row of
    its key: a key's events may repeat but never end in another order, and consumers ignore older versions.
    It does not hold up the rows of other keys. One that is larger than its topic takes is set aside until
    another publisher leads, and goes when a later one of its key is published.
    """

    def __init__(
        self,
        topology: Topology,
        producer: Producer,
        connect: Callable[[], Connection],
        backoff: Backoff,
        clock: Callable[[], float] = time.monotonic,
        guard: Guard | None = None,
    ) -> None:
        """`connect` returns a connection to a database at this code's schema, or raises.

        Without a `guard` nothing is verified or permitted: for what runs before the processes do."""
        self._guard = guard
        self._topology = topology
        self._producer = producer
        self._connect = connect
        self._backoff = backoff
        self._clock = clock
        self._connection: Connection | None = None
        self._measured_at = float("-inf")
        self._verified = False
        self._aside: dict[Row, float] = {}
        self._too_large: set[int] = set()  # ids of rows that are set aside
        self.leading = False
        self.holding = True

    def run(self, stop: threading.Event) -> None:
        """Run until `stop`; return with the current rows published and deleted. Raises lasting errors."""
        try:
            while not stop.is_set():
                try:
                    pause_s = self._round()
                    self._backoff.after_success()
                    self.holding = False
                except (psycopg.Error, KafkaException, NotDelivered) as error:
                    pause_s = self._set_back(error)
                stop.wait(pause_s)
        finally:
            self._release()

    def publish_once(self) -> int:
        """Publish one batch; return the number of rows, 0 also if another process leads."""
        connection = self._database()
        if not self._leads(connection):
            return 0
        if self._guard is not None:
            if not self._verified:
                self._guard.verify(connection)
                self._verified = True
            self._guard.renew(connection)
        read = self._next_rows(connection)
        rows = self._own(connection, read)
        if not rows:
            return len(read)
        reach("outbox.read")
        report = self._deliver(rows)
        done = _in_order([row for row in rows if row.id not in report.too_large], report.failures)
        reach("outbox.delivered")
        # Not earlier: a crash before this line publishes the rows again.
        with connection.transaction():
            self._keep_apart(connection, rows, report.too_large, done)
            connection.execute(QUERIES["delete_rows"], [[row.id for row in done]])
            if self._guard is not None and report.ranges:
                self._verified = self._guard.published(connection, report.ranges) and self._verified
        reach("outbox.deleted")
        for row in done:
            metrics.OUTBOX_PUBLISHED.labels(row.topic).inc()
        if report.failures:
            self._set_aside(rows, report.failures if done or report.too_large else {})
            raise NotDelivered(f"outbox: {next(iter(report.failures.values()))}")
        return len(read)

    def _next_rows(self, connection: Connection) -> list[Row]:
        """In order; without those that were set aside, and without later ones of their keys."""
        now = self._clock()
        self._aside = {row: until for row, until in self._aside.items() if until > now}
        ids, keys = [row.id for row in self._aside], {(row.topic, row.key) for row in self._aside}
        rows = fetch(connection, QUERIES["next_rows"], Row, [ids, self._topology.outbox.batch_max])
        return [row for row in rows if (row.topic, row.key) not in keys] if keys else rows

    def _own(self, connection: Connection, rows: Sequence[Row]) -> Sequence[Row]:
        """Without those of the tenant API that are not of their tenant's own object, which are deleted."""
        rejected = {
            row.id: found for row in rows if (found := not_of_tenant(row, self._topology)) is not None
        }
        if not rejected:
            return rows
        for row in rows:
            if row.id in rejected:
                metrics.OUTBOX_REJECTED.inc()
                LOG.error(
                    "rejected an event of tenant %s for %s: %s: look into the tenant API's process",
                    *(row.tenant_id, row.topic, rejected[row.id]),
                )
        connection.execute(QUERIES["delete_rows"], [[*rejected]])
        return [row for row in rows if row.id not in rejected]

    def _keep_apart(
        self, connection: Connection, rows: Sequence[Row], too_large: frozenset[int], done: Sequence[Row]
    ) -> None:
        """Set aside for the operator what Kafka never takes; forget it where `done` has a later event."""
        if too_large:
            connection.execute(QUERIES["set_aside"], [[*too_large]])
            self._too_large |= too_large
        for row in rows:
            if row.id in too_large:
                LOG.error(
                    "set aside event %d of tenant %s for %s: it is larger than the topic takes (%d bytes); "
                    "save its object smaller, or raise record_bytes_max and restart the sink",
                    *(row.id, row.tenant_id, row.topic, _bytes(row)),
                )
        if self._too_large and done:
            given = {"aside": [*self._too_large], "done": [row.id for row in done]}
            self._too_large -= {int(str(one)) for (one,) in connection.execute(QUERIES["supersede"], given)}
        metrics.OUTBOX_SET_ASIDE.set(len(self._too_large))

    def _set_aside(self, rows: Sequence[Row], failures: Mapping[int, str]) -> None:
        """Kafka took others of the batch: these would hold up everything behind them for a time-out each."""
        until = self._clock() + ASIDE_S
        self._aside |= {row: until for row in rows if row.id in failures}

    def held_up(self) -> bool:
        """Return whether events must wait: a transaction that began before theirs is still open."""
        return self._database().execute(QUERIES["any_rows"]).fetchone() == (True,)

    def _round(self) -> float:
        """Publish a batch; return the wait before the next one, in seconds."""
        self._measure()  # first: the age counts most while nothing can be published
        moved = self.publish_once()
        if not self.leading:
            return LEAD_RETRY_S
        return 0.0 if moved == self._topology.outbox.batch_max else self._topology.outbox.poll_ms / 1000

    def _leads(self, connection: Connection) -> bool:
        if not self.leading:
            self.leading = connection.execute(QUERIES["try_lead"], [LEADER_LOCK_ID]).fetchone() == (True,)
            metrics.OUTBOX_LEADER.set(self.leading)
            if self.leading:
                connection.execute(QUERIES["try_set_aside_again"])
                self._too_large.clear()
                metrics.OUTBOX_SET_ASIDE.set(0)
        return self.leading

    def _deliver(self, rows: Sequence[Row]) -> _Report:
        """What may be too large goes alone: the broker rejects all records of a request that has it."""
        found = _Found({}, set(), {})
        together: list[Row] = []
        for row in rows:
            if _bytes(row) <= self._topology.topic(row.topic).record_bytes_max:
                together.append(row)
                continue
            self._deliver_together(together, found)
            self._deliver_together([row], found)
            together = []
        self._deliver_together(together, found)
        for row in _again_alone(rows, found.too_large):  # the topic takes less than the topology has it
            found.failures.pop(row.id, None)
            found.too_large.discard(row.id)
            self._deliver_together([row], found)
        failures = {one: cause for one, cause in found.failures.items() if one not in found.too_large}
        if any(row.topic == GUARDED_ROLE for row in rows if row.id in failures):
            self._verified = False  # some may lie in the topic, and will lie there twice
        return _Report(failures, frozenset(found.too_large), found.ranges)

    def _deliver_together(self, rows: Sequence[Row], found: _Found) -> None:
        if not rows:
            return
        pending = {row.id for row in rows}
        guarded = self._topology.topic(GUARDED_ROLE).name

        def failed(row: Row, error: KafkaError) -> None:
            pending.discard(row.id)
            found.failures[row.id] = error.str()
            if error.code() in TOO_LARGE:
                found.too_large.add(row.id)

        def reported(row: Row, error: KafkaError | None, message: Message) -> None:
            pending.discard(row.id)
            if error is not None:
                failed(row, error)
            elif message.topic() == guarded:
                partition, offset = message.partition() or 0, message.offset() or 0
                first, after = found.ranges.get(partition, (offset, offset))
                found.ranges[partition] = (min(first, offset), max(after, offset + 1))

        for row in rows:
            topic = self._topology.topic(row.topic).name
            try:
                self._producer.produce(topic, row.value, row.key, on_delivery=partial(reported, row))
            except KafkaException as error:  # of this record alone
                failed(row, error.args[0])
        reach("outbox.produced")
        deadline = self._clock() + DELIVERY_TIMEOUT_MS / 1000 + 1
        while pending and self._clock() < deadline:
            self._producer.poll(0.1)
        found.failures.update(dict.fromkeys(pending, "no answer in time"))

    def _measure(self) -> None:
        if not self.leading or self._clock() - self._measured_at < MEASURE_EVERY_S:
            return
        self._measured_at = self._clock()
        (depth,) = fetch(self._database(), QUERIES["depth_and_age"], _Depth, [DEPTH_COUNTED_MAX])
        metrics.OUTBOX_DEPTH.set(depth.waiting)
        metrics.OUTBOX_AGE_S.set(depth.age_s)

    def _set_back(self, error: Exception) -> float:
        if isinstance(error, psycopg.Error) and not is_passing(error):
            raise error
        cause = describe(error) if isinstance(error, psycopg.Error) else str(error)
        wait_s = self._backoff.after_failure_s()
        LOG.warning("cannot publish the outbox (%s); retrying in %.1f s", cause, wait_s)
        metrics.OUTBOX_SETBACKS.labels(type(error).__name__).inc()
        self.holding = True
        if isinstance(error, psycopg.Error):
            self._release()
        return wait_s

    def _database(self) -> Connection:
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def _release(self) -> None:
        """End the session, and with it the lead."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self.leading = self._verified = False
        metrics.OUTBOX_LEADER.set(0)
        # A missing value is better than an outdated one, which would raise its alert for ever.
        metrics.OUTBOX_DEPTH.set(math.nan)
        metrics.OUTBOX_AGE_S.set(math.nan)
        metrics.OUTBOX_SET_ASIDE.set(math.nan)
        self._measured_at = float("-inf")


def _again_alone(rows: Sequence[Row], too_large: Set[int]) -> list[Row]:
    """Those that were too large, perhaps with others, and the later ones of their keys. Pure."""
    keys: set[tuple[str, bytes]] = set()
    again = []
    for row in rows:
        if row.id in too_large:
            keys.add((row.topic, row.key))
        if (row.topic, row.key) in keys:
            again.append(row)
    return again


def _bytes(row: Row) -> int:
    """Of its record at most, before compression."""
    return len(row.key) + len(row.value or b"") + RECORD_OVERHEAD_BYTES


def _in_order(rows: Sequence[Row], failures: Mapping[int, str]) -> list[Row]:
    """The rows that are done: acknowledged, and behind no failed row of their key. Pure."""
    stuck: set[tuple[str, bytes]] = set()
    done = []
    for row in rows:
        if row.id in failures:
            stuck.add((row.topic, row.key))
        elif (row.topic, row.key) not in stuck:
            done.append(row)
    return done
