"""What tables need now and then: partitions ahead of need, statuses and events that came early, retention."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import date, timedelta
from typing import Protocol

import psycopg

from pipeline.runtime.backoff import Backoff
from pipeline.topology.file import Postgres
from sinks.delivery.webhooks import inbound, inbound_events, notices
from sinks.postgres import audit_log, metrics
from sinks.postgres.connect import Connection
from sinks.postgres.kept_connection import KeptConnection
from sinks.postgres.partitions import create_ahead
from sinks.postgres.poison import describe, is_passing
from sinks.postgres.retention.enforce import TableRetention
from sinks.postgres.tables.dead_letter_retention import DeadLetterRetention

LOG = logging.getLogger(__name__)
SELDOM_EVERY_S = 600.0
LATELY = timedelta(seconds=2 * SELDOM_EVERY_S)
RETENTION_SHARE_MAX = 0.2  # of this thread's time, while there is more to delete than one call may
UNRESOLVED_EVERY_S = 30.0
STATUSES_EVERY_S = 1.0  # bounds how long a delivery is shown as sent that the provider has delivered


class EarlyStatuses(Protocol):
    """Statuses of a provider that came before the delivery's own outcome was written."""

    def merge_waiting(self, connection: Connection, within: timedelta = ..., /) -> int:
        """Merges those that can be merged now, of the time `within`; returns how many."""
        ...

    def count_waiting(self, connection: Connection, /) -> int: ...


class Maintenance:
    """In a thread of its own; every step may run in several processes at once.

    `connect` returns a connection to a database at this code's schema, or raises.
    """

    def __init__(
        self,
        limits: Postgres,
        connect: Callable[[], Connection],
        today: Callable[[], date],
        backoff: Backoff,
        statuses: EarlyStatuses,
        dead_letters: DeadLetterRetention,
        retention: TableRetention,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits
        self._database = KeptConnection(connect)
        self._today = today
        self._backoff = backoff
        self._statuses = statuses
        self._dead_letters = dead_letters
        self._retention = retention
        self._clock = clock
        self._seldom_at = float("-inf")
        self._unresolved_at = float("-inf")
        self._retain_at = float("inf")
        self._swept_to = inbound.BEGINNING
        self.holding = True

    def run(self, stop: threading.Event) -> None:
        """Until `stop`. Raises what `connect` raises for a schema that is not this code's, and what stays."""
        try:
            while not stop.is_set():
                stop.wait(self._round())
        finally:
            self._database.close()

    def _round(self) -> float:
        try:
            connection = self._database()
            if self._clock() - self._seldom_at >= SELDOM_EVERY_S:
                self._seldom(connection)
                self._seldom_at = self._clock()
                self._retention.begin_round()
                self._retain_at = self._seldom_at
            if self._clock() >= self._retain_at:
                self._retain(connection)
            self._statuses.merge_waiting(connection, LATELY)
            self._swept_to, decided = inbound.sweep(connection, self._swept_to)
            metrics.OPT_OUTS.inc(decided)
            if self._clock() - self._unresolved_at >= UNRESOLVED_EVERY_S:
                inbound_events.show_unresolved(connection)
                notices.show_unresolved(connection)
                notices.show_held(connection)
                self._unresolved_at = self._clock()
        except psycopg.Error as error:
            if not is_passing(error):
                raise
            self.holding = True
            wait_s = self._backoff.after_failure_s()
            LOG.warning("table maintenance failed (%s); retrying in %.1f s", describe(error), wait_s)
            self._database.close()
            return wait_s
        self._backoff.after_success()
        self.holding = False
        return STATUSES_EVERY_S

    def _seldom(self, connection: Connection) -> None:
        self.make_partitions(connection)
        while self._statuses.merge_waiting(connection) > 0:
            pass
        metrics.STATUSES_WAITING.set(self._statuses.count_waiting(connection))
        while audit_log.delete_old(connection, self._limits.audit_log_days) == audit_log.DELETE_BATCH_MAX:
            pass
        inbound_events.enforce(connection, self._limits.inbound_days, self._limits.audit_log_days)
        notices.enforce(connection, self._limits.audit_log_days)

    def _retain(self, connection: Connection) -> None:
        """A bounded part of what is due; the rest soon, within RETENTION_SHARE_MAX of the time."""
        began_s = self._clock()
        more = self._dead_letters.enforce(connection)
        more = self._retention.enforce(connection) or more
        ended_s = self._clock()
        pause_s = (ended_s - began_s) * (1 / RETENTION_SHARE_MAX - 1)
        self._retain_at = ended_s + pause_s if more else float("inf")

    def make_partitions(self, connection: Connection) -> None:
        """As far ahead as the topology says."""
        made = create_ahead(
            connection,
            self._today(),
            days_ahead=self._limits.partition_days_ahead,
            months_ahead=self._limits.partition_months_ahead,
        )
        if made:
            LOG.info("partitions made: %s", ", ".join(made))
            metrics.PARTITIONS_MADE.inc(len(made))
