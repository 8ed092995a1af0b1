"""Deletes the rows whose retention is over, in bounded batches, oldest or by key.

Nothing that deduplication or the ledger needs is deleted while a record about it can come again: the
topology's checks require each age to be longer than that.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psycopg
from psycopg import sql

from pipeline.topology.file import Retention
from sinks.postgres import audit_log, metrics
from sinks.postgres.connect import Connection
from sinks.postgres.named_rows import fetch
from sinks.postgres.outbox import enqueue
from sinks.postgres.partitions import LOCK_TIMEOUT_MS
from sinks.postgres.queries import load_queries

LOG = logging.getLogger(__name__)
QUERIES = load_queries(Path(__file__).with_name("retention.sql"))
BY_DAY = ("completions", "duplicates", "outcomes")
"""A day's tables in the order in which they are dropped. To the ledger audit a verdict may outlive its
completion; a completion or a duplicate without its verdict is a breach."""
TOKENS_ROLE = "tokens"
ACTOR = "retention"  # in the audit log
LEADER_LOCK_ID = 7_165_012  # of the advisory lock of the one process that enforces
BATCH_ROWS = 1_000  # of one transaction that deletes
PAGE_ROWS = 5_000  # of one step of a sweep, which examines every row
STEPS_MAX = 4  # batches or pages of one call for each rule, so that other maintenance is not kept waiting
PARTITIONS_MAX = 10  # of one call
CAMPAIGNS_MAX = 100  # of one call

CancelOpen = Callable[[Connection, Sequence[str], int], int]
"""Cancels at most so many waiting deliveries of campaigns, each with its event; returns how many."""


class _Day(NamedTuple):
    name: str
    parent: str
    day: str
    rows: int


class _Swept(NamedTuple):
    examined: int
    deleted: int
    held: int
    oldest: datetime | None
    last_1: str | None
    last_2: str | None
    last_3: str | None


class _Pruned(NamedTuple):
    deliveries: int
    attempts: int


class _Ended(NamedTuple):
    campaign_id: str
    uncancelled: bool


class _Open(NamedTuple):
    tenant_id: str
    day: date


class Sweep:
    """Goes through a table in the order of its key, a bounded number of rows a call, again and again."""

    def __init__(self, table: str, *, page_rows: int = PAGE_ROWS, pages_max: int = STEPS_MAX) -> None:
        self._table = table
        self._page_rows = page_rows
        self._pages_max = pages_max
        self._after = ("", "", "")
        self._oldest: datetime | None = None
        self._oldest_of_last_pass: datetime | None = None
        self._held = 0

    def go_on(
        self,
        connection: Connection,
        before: datetime,
        now: datetime,
        more: Mapping[str, object] | None = None,
    ) -> bool:
        """Delete what is older than `before`; returns whether the pass over the table goes on.

        The age metric is set with each page. `more` are further parameters of the table's query. Raises
        psycopg.Error.
        """
        for _ in range(self._pages_max):
            names = ("after_1", "after_2", "after_3")
            parameters = {
                "before": before,
                "rows": self._page_rows,
                **dict(zip(names, self._after, strict=True)),
                **(more or {}),
            }
            (page,) = fetch(connection, QUERIES[f"sweep_{self._table}"], _Swept, parameters)
            metrics.TABLE_ROWS_DELETED.labels(self._table).inc(page.deleted)
            self._held += page.held
            self._oldest = min(filter(None, (self._oldest, page.oldest)), default=None)
            ended = page.examined < self._page_rows
            if ended:
                metrics.TABLE_ROWS_HELD.labels(self._table).set(self._held)
                self._oldest_of_last_pass = self._oldest
            known = min(filter(None, (self._oldest, self._oldest_of_last_pass)), default=None)
            age_s = 0.0 if known is None else (now - known).total_seconds()
            metrics.TABLE_OLDEST_S.labels(self._table).set(max(0.0, age_s))
            if ended:
                self._after, self._oldest, self._held = ("", "", ""), None, 0
                return False
            self._after = (page.last_1 or "", page.last_2 or "", page.last_3 or "")
        return True


class TableRetention:
    """One process at a time enforces: the first that asks, as long as its connection lives.

    Each method is called outside of any transaction.
    """

    def __init__(
        self,
        limits: Retention,
        today: Callable[[], date],
        cancel_open: CancelOpen,
        *,
        batch_rows: int = BATCH_ROWS,
        page_rows: int = PAGE_ROWS,
    ) -> None:
        self._limits = limits
        self._today = today
        self._cancel_open = cancel_open
        self._batch_rows = batch_rows
        self._sweeps = {
            table: Sweep(table, page_rows=page_rows)
            for table in ("contacts", "provider_statuses", "completions_apart")
        }
        self._rules: dict[str, Callable[[Connection], bool]] = {
            "days": partial(self._drop_days, BY_DAY, limits.archive_days),
            "visits": partial(self._drop_days, ("visits",), limits.visit_days),
            "open deliveries": self._cancel_waiting,
            "ended campaigns": self._begin_pruning,
            "deliveries": self._delete_deliveries,
            "tokens": self._delete_tokens,
            "idempotent_requests": self._delete_answers,
            "webhook_messages": self._delete_webhook_messages,
            "users": self._delete_users,
            "completions_apart": self._sweep_completions_apart,
            "provider_statuses": self._sweep_statuses,
            "contacts": self._sweep_contacts,
        }
        self._due: list[str] = []
        self._held: list[_Open] | None = None  # as of the beginning of the round
        self._leads: Connection | None = None

    def begin_round(self) -> None:
        """Every rule is due again; sweeps go on where they are."""
        self._due = [*self._rules]
        self._held = None

    def enforce(self, connection: Connection) -> bool:
        """A bounded part of what is due; returns whether there is more. Raises psycopg.Error."""
        if self._leads is not connection:
            if connection.execute(QUERIES["try_lead"], [LEADER_LOCK_ID]).fetchone() != (True,):
                return False
            self._leads = connection
        for rule in [*self._due]:
            if not self._rules[rule](connection):
                self._due.remove(rule)
        return bool(self._due)

    @property
    def _now(self) -> datetime:
        return datetime.combine(self._today(), datetime.min.time(), UTC)

    def _drop_days(self, tables: Sequence[str], kept_days: int, connection: Connection) -> bool:
        first_kept = self._today() - timedelta(days=kept_days)
        parameters = {
            "tables": [*tables],
            "first_kept": f"{first_kept:%Y%m%d}",
            "partitions": PARTITIONS_MAX,
        }
        days = fetch(connection, QUERIES["due_days"], _Day, parameters)
        more = len(days) == PARTITIONS_MAX
        for day in days:
            if not _drop(connection, day):
                more = False  # the next round retries: each try makes writers wait
                break
        for table in tables:
            row = connection.execute(QUERIES["oldest_day"], {"table": table}).fetchone()
            if row is not None and row[0] is not None:
                oldest = datetime.strptime(str(row[0]), "%Y%m%d").replace(tzinfo=UTC).date()
                age_s = (self._today() - oldest).total_seconds()
                metrics.TABLE_OLDEST_S.labels(table).set(max(0.0, age_s))
        return more

    def _ended(self, connection: Connection, *, with_open: bool) -> list[_Ended]:
        """Campaigns that ended long ago, locked. Call it within a transaction."""
        parameters: dict[str, object] = {
            "age": timedelta(days=self._limits.ended_campaign_days),
            "open": with_open,
            "only": None,
            "campaigns": CAMPAIGNS_MAX,
        }
        candidates = fetch(connection, QUERIES["ended_campaigns"], _Ended, parameters)
        parameters["only"] = [one.campaign_id for one in candidates]
        return fetch(connection, QUERIES["ended_campaigns"], _Ended, parameters) if candidates else []

    def _cancel_waiting(self, connection: Connection) -> bool:
        for _ in range(STEPS_MAX):
            with connection.transaction():
                ended = [one.campaign_id for one in self._ended(connection, with_open=True)]
                cancelled = self._cancel_open(connection, ended, self._batch_rows) if ended else 0
            if not cancelled:
                return False
            metrics.ENDED_DELIVERIES_CANCELLED.inc(cancelled)
            LOG.info("cancelled %d waiting deliveries of campaigns that ended long ago", cancelled)
        return True

    def _begin_pruning(self, connection: Connection) -> bool:
        with connection.transaction():
            ended = self._ended(connection, with_open=False)
            connection.execute(QUERIES["begin_pruning"], {"only": [one.campaign_id for one in ended]})
            for one in ended:
                audit_log.record(
                    connection,
                    ACTOR,
                    "campaign.delete-ledger",
                    one.campaign_id,
                    cancelled=one.uncancelled,
                    ended_campaign_days=self._limits.ended_campaign_days,
                )
        for one in ended:
            LOG.info("campaign %s ended long ago: its deliveries are deleted from now on", one.campaign_id)
        rejections = connection.execute(QUERIES["delete_rejections"]).rowcount
        metrics.TABLE_ROWS_DELETED.labels("campaign_rejections").inc(rejections)
        return len(ended) == CAMPAIGNS_MAX

    def _delete_deliveries(self, connection: Connection) -> bool:
        for _ in range(STEPS_MAX):
            parameters = {"rows": self._batch_rows}
            (done,) = fetch(connection, QUERIES["delete_deliveries"], _Pruned, parameters)
            metrics.TABLE_ROWS_DELETED.labels("deliveries").inc(done.deliveries)
            metrics.TABLE_ROWS_DELETED.labels("delivery_attempts").inc(done.attempts)
            if done.deliveries < self._batch_rows:
                return False
        return True

    def _delete_tokens(self, connection: Connection) -> bool:
        age = timedelta(days=self._limits.revoked_token_days)
        with connection.transaction():
            gone = connection.execute(
                QUERIES["delete_tokens"], {"age": age, "rows": self._batch_rows}
            ).fetchall()
            for (hashed,) in gone:
                enqueue(connection, TOKENS_ROLE, str(hashed).encode(), None)  # out of their topic, too
        metrics.TABLE_ROWS_DELETED.labels("tokens").inc(len(gone))
        return len(gone) == self._batch_rows

    def _delete_answers(self, connection: Connection) -> bool:
        parameters = {"age": timedelta(days=self._limits.idempotency_days), "rows": self._batch_rows}
        gone = connection.execute(QUERIES["delete_answers"], parameters).rowcount
        metrics.TABLE_ROWS_DELETED.labels("idempotent_requests").inc(gone)
        return gone == self._batch_rows

    def _delete_users(self, connection: Connection) -> bool:
        parameters = {"age": timedelta(days=self._limits.disabled_user_days), "rows": self._batch_rows}
        gone = connection.execute(QUERIES["delete_users"], parameters).rowcount
        metrics.TABLE_ROWS_DELETED.labels("users").inc(gone)
        return gone == self._batch_rows

    def _delete_webhook_messages(self, connection: Connection) -> bool:
        age = timedelta(days=self._limits.webhook_message_days)
        for _ in range(STEPS_MAX):
            parameters = {"age": age, "rows": self._batch_rows}
            gone = connection.execute(QUERIES["delete_webhook_messages"], parameters).rowcount
            metrics.TABLE_ROWS_DELETED.labels("webhook_messages").inc(gone)
            if gone < self._batch_rows:
                return False
        return True

    def _sweep_completions_apart(self, connection: Connection) -> bool:
        before = self._now - timedelta(days=self._limits.archive_days)
        return self._sweeps["completions_apart"].go_on(connection, before, self._now)

    def _sweep_statuses(self, connection: Connection) -> bool:
        before = self._now - timedelta(days=self._limits.provider_status_days)
        return self._sweeps["provider_statuses"].go_on(connection, before, self._now)

    def _sweep_contacts(self, connection: Connection) -> bool:
        """Deletes contacts without a completion in the archive, unless a delivery of that time is open."""
        before = self._now - timedelta(days=self._limits.contact_days)
        if self._held is None:
            self._held = fetch(connection, QUERIES["oldest_open_days"], _Open, {"before": before.date()})
        held = {
            "tenants": [one.tenant_id for one in self._held],
            "held_from": [
                datetime.combine(one.day, datetime.min.time(), UTC) - timedelta(days=1) for one in self._held
            ],
        }
        return self._sweeps["contacts"].go_on(connection, before, self._now, held)


def _drop(connection: Connection, day: _Day) -> bool:
    """Whether the partition is gone. Its parent is locked for a moment, and writers wait for at most that."""
    try:
        with connection.transaction():
            connection.execute(QUERIES["limit_lock_wait"], [f"{LOCK_TIMEOUT_MS}ms"])
            connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(day.name)))
    except psycopg.errors.LockNotAvailable:
        metrics.PARTITION_DROPS_POSTPONED.labels(day.parent).inc()
        LOG.warning(
            "partition %s is due and was not dropped: %s is in use; the next round retries",
            day.name,
            day.parent,
        )
        return False
    metrics.TABLE_ROWS_DELETED.labels(day.parent).inc(day.rows)
    return True
