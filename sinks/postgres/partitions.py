"""Table partitions by day and by month: created ahead, and on demand for an event's day within limits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Final, Literal

import psycopg
from psycopg import sql

from sinks.postgres.connect import Connection
from sinks.postgres.queries import load_queries

QUERIES = load_queries(Path(__file__).with_name("partitions.sql"))
LOCK_TIMEOUT_MS: Final = 2_000  # a creation that waits longer fails, and its batch is retried
EPOCH: Final = date(1970, 1, 1)
DAYS_MAX: Final = (date.max - EPOCH).days - 31

Span = Literal["day", "month"]
SPANS: Final[dict[str, Span]] = {
    "completions": "day",
    "outcomes": "day",
    "duplicates": "day",
    "visits": "day",
    "deliveries": "month",
}


@dataclass(frozen=True, slots=True)
class Partition:
    """The partition of `table` for `day` (days since the epoch; may be out of any range)."""

    table: str
    day: int


@dataclass(frozen=True, slots=True)
class Ready:
    """The partition exists and its creation is committed."""


@dataclass(frozen=True, slots=True)
class OutOfBounds:
    """No partition is created for this day; `reason` is for the dead letter."""

    reason: str


@dataclass(frozen=True, slots=True)
class Bounds:
    """The distance from today within which partitions are created, in days. Existing ones always count."""

    past_days_max: int
    future_days_max: int


class Partitions:
    """A process's cache of existing partitions; queries the database once for each."""

    def __init__(self, bounds: Bounds, today: Callable[[], date]) -> None:
        self._bounds = bounds
        self._today = today
        self._known: set[Partition] = set()

    def ensure(self, connection: Connection, partition: Partition) -> Ready | OutOfBounds:
        """Create the partition if it is missing, in a separate short transaction.

        - Call it outside of any transaction.
        - It blocks neither readers nor writers of the table, and processes may call it concurrently.
        - Raises `psycopg.OperationalError` if a lock is not granted within `LOCK_TIMEOUT_MS`.
        """
        if partition in self._known:  # first, because this runs for every record
            return Ready()
        if not 0 <= partition.day <= DAYS_MAX:
            return OutOfBounds(f"day {partition.day} is not a date that can be stored")
        first, end = extent(partition)
        name = partition_name(partition)
        if not _exists(connection, name):
            today = self._today()
            if end <= today - timedelta(days=self._bounds.past_days_max):
                return OutOfBounds(f"{first} lies more than {self._bounds.past_days_max} days back")
            if first > today + timedelta(days=self._bounds.future_days_max):
                return OutOfBounds(f"{first} lies more than {self._bounds.future_days_max} days ahead")
            create(connection, partition)
        self._known.add(partition)
        return Ready()

    def forget(self) -> None:
        """Clear the cache, after an insert that found no partition: it was removed by another process."""
        self._known.clear()


def extent(partition: Partition) -> tuple[date, date]:
    """Return the first day and the day after the last one."""
    day = EPOCH + timedelta(days=partition.day)
    if SPANS[partition.table] == "day":
        return day, day + timedelta(days=1)
    first = day.replace(day=1)
    return first, (first + timedelta(days=31)).replace(day=1)


def partition_name(partition: Partition) -> str:
    """Return the name, such as `completions_20261231` or `deliveries_202612`."""
    first, _ = extent(partition)
    return (
        f"{partition.table}_{first:%Y%m%d}"
        if SPANS[partition.table] == "day"
        else (f"{partition.table}_{first:%Y%m}")
    )


def create(connection: Connection, partition: Partition) -> bool:
    """Create and attach the partition unless it exists; return whether this call created it.

    Attaching a finished table takes a lock that does not block inserts; `CREATE TABLE ... PARTITION OF` would
    block them.
    """
    name = partition_name(partition)
    first, end = extent(partition)
    with connection.transaction():
        connection.execute(QUERIES["limit_lock_wait"], [f"{LOCK_TIMEOUT_MS}ms"])
        connection.execute(QUERIES["lock_partitions"], [partition.table])
        if _exists(connection, name):
            return False
        parent, child = sql.Identifier(partition.table), sql.Identifier(name)
        connection.execute(sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL)").format(child, parent))
        connection.execute(QUERIES["isolate"], [name, partition.table])
        connection.execute(
            sql.SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(
                parent, child, sql.Literal(first), sql.Literal(end)
            )
        )
        return True


def create_ahead(connection: Connection, today: date, *, days_ahead: int, months_ahead: int) -> list[str]:
    """Create the partitions of today and the days and months ahead; return the names of new ones."""
    made = []
    for partition in ahead(today, days_ahead=days_ahead, months_ahead=months_ahead):
        if create(connection, partition):
            made.append(partition_name(partition))
    return made


def ahead(today: date, *, days_ahead: int, months_ahead: int) -> Iterable[Partition]:
    """From yesterday (late arrivals) to `days_ahead` days and `months_ahead` months from now."""
    day = (today - EPOCH).days
    for table, span in SPANS.items():
        if span == "day":
            yield from (Partition(table, day + offset) for offset in range(-1, days_ahead + 1))
            continue
        month = Partition(table, day)
        for _ in range(months_ahead + 1):
            yield month
            month = Partition(table, (extent(month)[1] - EPOCH).days)


def is_missing_partition(error: psycopg.Error) -> bool:
    """Return whether an insert failed because of a missing partition (a check violation without a name)."""
    return (
        isinstance(error, psycopg.errors.CheckViolation)
        and error.diag.constraint_name is None
        and error.diag.table_name in SPANS
    )


def _exists(connection: Connection, name: str) -> bool:
    return connection.execute(QUERIES["is_partition"], [name]).fetchone() is not None
