"""Posts completions around a midnight whose days have no partition."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta

from ops.chaos.machine.database import Connection, Database, DidNotHappen
from sinks.postgres.partitions import EPOCH, Partition, partition_name

TABLES = ("completions", "outcomes")
AROUND = 20
APART = timedelta(milliseconds=50)

HandIn = Callable[[Sequence[int]], int]


class Midnights:
    """Each midnight is two days before the last: partitions are not created ahead for past days."""

    def __init__(self, database: Database, hand_in: HandIn, today: Callable[[], date]) -> None:
        """`hand_in` posts completions with these times (ms since the epoch); returns the number accepted."""
        self._database = database
        self._hand_in = hand_in
        self._today = today
        self._past = 0
        self._lock = threading.Lock()

    def pass_one(self) -> str:
        """Post around one midnight. Raises DidNotHappen, and TimeoutError if a partition is not created."""
        with self._lock:
            self._past += 1
            day = self._today() - timedelta(days=1 + 2 * self._past)
        wanted = names_of(day)
        with self._database.connect() as connection:
            there = _there(connection, wanted)
        if there:
            raise DidNotHappen(f"they exist already: {', '.join(sorted(there))}")
        accepted = self._hand_in(times_around(day))
        self._database.until(
            lambda connection: _there(connection, wanted) == wanted,
            f"not created on demand: {', '.join(sorted(wanted))}",
        )
        return f"{accepted} completions around {day}T00:00Z, created on demand: {', '.join(sorted(wanted))}"


def names_of(day: date) -> set[str]:
    number = (day - EPOCH).days
    return {partition_name(Partition(table, number - back)) for table in TABLES for back in (0, 1)}


def times_around(day: date) -> list[int]:
    """Return equally many times before and after the day's start, in ms since the epoch."""
    midnight = datetime.combine(day, time(), UTC)
    return [
        round((midnight + APART * number).timestamp() * 1000) for number in range(-AROUND // 2, AROUND // 2)
    ]


def _there(connection: Connection, names: set[str]) -> set[str]:
    query = "SELECT relname::text FROM pg_class WHERE relispartition AND relname = ANY(%s)"
    return {str(name) for (name,) in connection.execute(query, [list(names)])}
