"""What Kafka must be told about a change in Postgres: written in its transaction, published after it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol, cast

import psycopg
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from pipeline.runtime.crash_points import reach
from pipeline.topology.model import Topology
from sinks.postgres import metrics
from sinks.postgres.backoff import Backoff
from sinks.postgres.connect import Connection
from sinks.postgres.copy import copy_rows
from sinks.postgres.dead_letter_producer import DELIVERY_TIMEOUT_MS, NotDelivered
from sinks.postgres.poison import describe, is_passing
from sinks.postgres.queries import load_queries

LOG = logging.getLogger(__name__)
QUERIES = load_queries(Path(__file__).with_name("outbox.sql"))
LEADER_LOCK_ID = 7_165_002
LEAD_RETRY_S = 1.0  # how often a second publisher asks whether the first is gone
MEASURE_EVERY_S = 5.0
DEPTH_COUNTED_MAX = 100_000

GUARDED_ROLE = "delivery_events"  # the topic whose end the guard watches

Row = tuple[int, str, bytes, bytes | None]
Ranges = dict[int, tuple[int, int]]
"""Partition -> first offset and the one after the last, of what was delivered."""


class Guard(Protocol):
    """What `sinks.postgres.restore.guard` does for the publisher that leads."""

    def verify(self, connection: Connection) -> None: ...
    def renew(self, connection: Connection) -> None: ...
    def published(self, connection: Connection, ranges: Ranges) -> bool: ...


def enqueue(connection: Connection, role: str, key: bytes, value: bytes | None) -> None:
    """Within the transaction of the change. `role` is a topic of the topology, None a tombstone.

    Lock the object that `key` stands for first: that keeps the order of its events.
    """
    connection.execute(QUERIES["enqueue"], [role, key, value])


def enqueue_all(connection: Connection, role: str, events: Iterable[tuple[bytes, bytes]]) -> None:
    """As `enqueue`, for many; in the order given."""
    rows = ((role, key, value) for key, value in events)
    copy_rows(connection, QUERIES["enqueue_copy"], ["text", "bytea", "bytea"], rows)


class Publisher:
    """Moves the outbox to Kafka, in order, at least once; one process at a time does so.

    A row is deleted only after its delivery report. Whatever fails, the rows are read and sent again from the
    first on, so that a key's events may repeat but never change their order; consumers ignore older versions.
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
        self.leading = False
        self.holding = True

    def run(self, stop: threading.Event) -> None:
        """Returns after `stop`, the rows in hand published and deleted. Raises what waiting does not mend."""
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
        """One batch; returns how many rows it moved, 0 also where another process leads."""
        connection = self._database()
        if not self._leads(connection):
            return 0
        if self._guard is not None:
            if not self._verified:
                self._guard.verify(connection)
                self._verified = True
            self._guard.renew(connection)
        rows = cast(
            list[Row], connection.execute(QUERIES["next_rows"], [self._topology.outbox.batch_max]).fetchall()
        )
        if rows:
            reach("outbox.read")
            ranges = self._deliver(rows)
            reach("outbox.delivered")
            # Only now: a crash before this line sends the rows again.
            with connection.transaction():
                connection.execute(QUERIES["delete_rows"], [[row[0] for row in rows]])
                if self._guard is not None and ranges:
                    self._verified = self._guard.published(connection, ranges)
            reach("outbox.deleted")
            for _, role, _, _ in rows:
                metrics.OUTBOX_PUBLISHED.labels(role).inc()
        return len(rows)

    def held_up(self) -> bool:
        """Whether events wait all the same: a transaction that began before theirs is still open."""
        return self._database().execute(QUERIES["any_rows"]).fetchone() == (True,)

    def _round(self) -> float:
        """Publishes a batch and says how long to wait for the next, in seconds."""
        moved = self.publish_once()
        self._measure()
        if not self.leading:
            return LEAD_RETRY_S
        return 0.0 if moved == self._topology.outbox.batch_max else self._topology.outbox.poll_ms / 1000

    def _leads(self, connection: Connection) -> bool:
        if not self.leading:
            self.leading = connection.execute(QUERIES["try_lead"], [LEADER_LOCK_ID]).fetchone() == (True,)
            metrics.OUTBOX_LEADER.set(self.leading)
        return self.leading

    def _deliver(self, rows: Iterable[Row]) -> Ranges:
        failures: list[KafkaError] = []
        pending = 0
        ranges: Ranges = {}
        guarded = self._topology.topic(GUARDED_ROLE).name

        def reported(error: KafkaError | None, message: Message) -> None:
            nonlocal pending
            pending -= 1
            if error is not None:
                failures.append(error)
            elif message.topic() == guarded:
                partition, offset = message.partition() or 0, message.offset() or 0
                first, after = ranges.get(partition, (offset, offset))
                ranges[partition] = (min(first, offset), max(after, offset + 1))

        for _, role, key, value in rows:
            pending += 1
            self._producer.produce(self._topology.topic(role).name, value, key, on_delivery=reported)
        reach("outbox.produced")
        deadline = self._clock() + DELIVERY_TIMEOUT_MS / 1000 + 1
        while pending and self._clock() < deadline:
            self._producer.poll(0.1)
        if pending or failures:
            self._verified = False  # some may lie in the topic, and will lie there twice
            raise NotDelivered(f"outbox: {failures[0].str() if failures else 'no answer in time'}")
        return ranges

    def _measure(self) -> None:
        if not self.leading or self._clock() - self._measured_at < MEASURE_EVERY_S:
            return
        self._measured_at = self._clock()
        row = self._database().execute(QUERIES["depth_and_age"], [DEPTH_COUNTED_MAX]).fetchone()
        if row is not None:
            metrics.OUTBOX_DEPTH.set(float(str(row[0])))
            metrics.OUTBOX_AGE_S.set(float(str(row[1])))

    def _set_back(self, error: Exception) -> float:
        if isinstance(error, psycopg.Error) and not is_passing(error):
            raise error
        cause = describe(error) if isinstance(error, psycopg.Error) else str(error)
        wait_s = self._backoff.after_failure_s()
        LOG.warning("outbox: %s; again in %.1f s", cause, wait_s)
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
        """Ends the session, and with it the lead."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self.leading = self._verified = False
        metrics.OUTBOX_LEADER.set(0)
