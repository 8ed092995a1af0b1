"""Deletes the rows whose retention is over, in bounded batches, oldest or by key.

Nothing that deduplication or the ledger needs is deleted while a record about it can come again: the
topology's checks require each age to be longer than that.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from psycopg import sql

from pipeline.topology.file import Retention
from sinks.postgres import metrics
from sinks.postgres.connect import Connection
from sinks.postgres.named_rows import fetch
from sinks.postgres.outbox import enqueue
from sinks.postgres.partitions import LOCK_TIMEOUT_MS
from sinks.postgres.queries import load_queries

QUERIES = load_queries(Path(__file__).with_name("retention.sql"))
BY_DAY = (
    "duplicates",
    "outcomes",
    "completions",
)  # in this order: a verdict never stays without its completion
TOKENS_ROLE = "tokens"
BATCH_ROWS = 1_000  # of one transaction that deletes
PAGE_ROWS = 5_000  # of one step of a sweep, which examines every row
BATCHES_MAX = 40  # of one call for each table, so that other maintenance is not kept waiting
PARTITIONS_MAX = 10  # of one call for each table


class _Day(NamedTuple):
    name: str
    rows: int


class _Swept(NamedTuple):
    examined: int
    deleted: int
    oldest: datetime | None
    last_1: str | None
    last_2: str | None
    last_3: str | None


class _Pruned(NamedTuple):
    deliveries: int
    attempts: int


class Sweep:
    """Goes through a table in the order of its key, a bounded number of rows a call, again and again."""

    def __init__(self, table: str, *, page_rows: int = PAGE_ROWS, pages_max: int = BATCHES_MAX) -> None:
        self._table = table
        self._page_rows = page_rows
        self._pages_max = pages_max
        self._after = ("", "", "")
        self._oldest: datetime | None = None

    def go_on(self, connection: Connection, before: datetime, now: datetime) -> None:
        """Delete what is older than `before`; the age metric is set at the end of a pass.

        Raises psycopg.Error.
        """
        for _ in range(self._pages_max):
            names = ("after_1", "after_2", "after_3")
            parameters = {
                "before": before,
                "rows": self._page_rows,
                **dict(zip(names, self._after, strict=True)),
            }
            (page,) = fetch(connection, QUERIES[f"sweep_{self._table}"], _Swept, parameters)
            metrics.TABLE_ROWS_DELETED.labels(self._table).inc(page.deleted)
            self._oldest = min(filter(None, (self._oldest, page.oldest)), default=None)
            if page.examined < self._page_rows:
                age_s = 0.0 if self._oldest is None else (now - self._oldest).total_seconds()
                metrics.TABLE_OLDEST_S.labels(self._table).set(max(0.0, age_s))
                self._after, self._oldest = ("", "", ""), None
                return
            self._after = (page.last_1 or "", page.last_2 or "", page.last_3 or "")


class TableRetention:
    """May run in several processes at once. Each method is called outside of any transaction."""

    def __init__(
        self,
        limits: Retention,
        today: Callable[[], date],
        *,
        batch_rows: int = BATCH_ROWS,
        page_rows: int = PAGE_ROWS,
    ) -> None:
        self._limits = limits
        self._today = today
        self._batch_rows = batch_rows
        self._sweeps = {
            table: Sweep(table, page_rows=page_rows)
            for table in ("contacts", "provider_statuses", "completions_apart")
        }

    def enforce(self, connection: Connection) -> None:
        """A bounded part of what is due; call it again and again. Raises psycopg.Error."""
        now = datetime.combine(self._today(), datetime.min.time(), UTC)
        self._drop_days(connection)
        self._delete_ended_campaigns(connection)
        self._delete_tokens(connection)
        archived_from = now - timedelta(days=self._limits.archive_days)
        self._sweeps["completions_apart"].go_on(connection, archived_from, now)
        statuses_from = now - timedelta(days=self._limits.provider_status_days)
        self._sweeps["provider_statuses"].go_on(connection, statuses_from, now)
        self._sweeps["contacts"].go_on(connection, self._contacts_from(connection, now), now)

    def _drop_days(self, connection: Connection) -> None:
        first_kept = self._today() - timedelta(days=self._limits.archive_days)
        for table in BY_DAY:
            parameters = {"table": table, "first_kept": f"{first_kept:%Y%m%d}", "partitions": PARTITIONS_MAX}
            for day in fetch(connection, QUERIES["days_before"], _Day, parameters):
                # The parent is locked for a moment; where that takes longer, the next call drops it.
                with connection.transaction():
                    connection.execute(QUERIES["limit_lock_wait"], [f"{LOCK_TIMEOUT_MS}ms"])
                    connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(day.name)))
                metrics.TABLE_ROWS_DELETED.labels(table).inc(day.rows)
            row = connection.execute(QUERIES["oldest_day"], {"table": table}).fetchone()
            if row is not None and row[0] is not None:
                oldest = datetime.strptime(str(row[0]), "%Y%m%d").replace(tzinfo=UTC).date()
                age_s = (self._today() - oldest).total_seconds()
                metrics.TABLE_OLDEST_S.labels(table).set(max(0.0, age_s))

    def _delete_ended_campaigns(self, connection: Connection) -> None:
        age = timedelta(days=self._limits.ended_campaign_days)
        connection.execute(QUERIES["begin_pruning"], {"age": age})
        rejections = connection.execute(QUERIES["delete_rejections"]).rowcount
        metrics.TABLE_ROWS_DELETED.labels("campaign_rejections").inc(rejections)
        for _ in range(BATCHES_MAX):
            parameters = {"rows": self._batch_rows}
            (done,) = fetch(connection, QUERIES["delete_deliveries"], _Pruned, parameters)
            metrics.TABLE_ROWS_DELETED.labels("deliveries").inc(done.deliveries)
            metrics.TABLE_ROWS_DELETED.labels("delivery_attempts").inc(done.attempts)
            if done.deliveries < self._batch_rows:
                return

    def _delete_tokens(self, connection: Connection) -> None:
        age = timedelta(days=self._limits.revoked_token_days)
        with connection.transaction():
            gone = connection.execute(
                QUERIES["delete_tokens"], {"age": age, "rows": self._batch_rows}
            ).fetchall()
            for (hashed,) in gone:
                enqueue(connection, TOKENS_ROLE, str(hashed).encode(), None)  # out of their topic, too
        metrics.TABLE_ROWS_DELETED.labels("tokens").inc(len(gone))

    def _contacts_from(self, connection: Connection, now: datetime) -> datetime:
        """Contacts that were seen before this time have no completion in the archive and no open delivery."""
        before = now - timedelta(days=self._limits.contact_days)
        row = connection.execute(QUERIES["oldest_open_day"]).fetchone()
        if row is None or not isinstance(row[0], date):
            return before
        oldest_open = datetime.combine(row[0], datetime.min.time(), UTC) - timedelta(days=1)
        return min(before, oldest_open)
