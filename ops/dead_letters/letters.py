"""The dead letters in their table, and the filter with which a command selects them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, cast
from uuid import UUID

import msgspec

from pipeline.errors import OperatorError
from pipeline.topology.model import Topology
from sinks.postgres.connect import Connection
from sinks.postgres.queries import load_queries

QUERIES = load_queries(Path(__file__).with_name("dead_letters.sql"))
State = Literal["open", "redriven", "quarantined", "unsettled", "all"]


class BadFilter(OperatorError):
    """The message is one line."""


class Which(msgspec.Struct, frozen=True):
    """A filter; all given fields must match.

    - `reason`: a part of the reason, case-insensitive.
    - `topic`: a role or a physical name.
    - `since` is inclusive, `until` exclusive.
    - `state` 'unsettled': open or quarantined.
    """

    id: str | None = None
    reason: str | None = None
    stage: str | None = None
    topic: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    state: State = "open"

    def parameters(self, topology: Topology) -> dict[str, Any]:
        """Return the query's parameters. Raises BadFilter for an invalid id or topic."""
        found = msgspec.structs.asdict(self)
        if self.id is not None:
            try:
                found["id"] = UUID(self.id)
            except ValueError:
                raise BadFilter(f"{self.id!r} is not a dead letter's id: give a UUID.") from None
        if self.topic is not None:
            if self.topic in topology.topics:
                found["topic"] = topology.topic(self.topic).name
            elif topology.role_of(self.topic) is None:
                raise BadFilter(f"no topic {self.topic!r}: one of {', '.join(topology.topics)}")
        return found

    @property
    def everything(self) -> bool:
        """Whether only the state is given."""
        return not any((self.id, self.reason, self.stage, self.topic, self.since, self.until))


class Letter(msgspec.Struct, frozen=True):
    dead_letter_id: str
    source_topic: str
    source_partition: int
    source_offset: int
    stage: str
    reason: str
    attempts: int
    completion_id: str | None
    failed_at: datetime
    redriven_from: str | None
    redriven_at: datetime | None
    quarantined_at: datetime | None
    key: bytes | None
    value: bytes | None
    payload_erased_at: datetime | None = None

    @property
    def place(self) -> tuple[str, int, int]:
        """Topic, partition and offset; letters with one place are about the same record."""
        return (self.source_topic, self.source_partition, self.source_offset)

    @property
    def state(self) -> str:
        if self.redriven_at is not None:
            return "redriven"
        return "open" if self.quarantined_at is None else "quarantined"


class Group(msgspec.Struct, frozen=True):
    """The number of letters with the same stage, reason and source topic."""

    stage: str
    reason: str
    source_topic: str
    count: int


def newest(connection: Connection, which: dict[str, Any], limit: int) -> list[Letter]:
    return _letters(connection, "newest_first", {**which, "limit": limit})


def histogram(connection: Connection, which: dict[str, Any]) -> list[Group]:
    """Return the groups, the most frequent first."""
    query = f"{QUERIES['histogram']} {QUERIES['which']} {QUERIES['by_frequency']}"
    rows = cast(list[tuple[str, str, str, int]], connection.execute(query.encode(), which).fetchall())
    return [Group(*row) for row in rows]


def counted(connection: Connection, which: dict[str, Any]) -> tuple[int, datetime]:
    """Return the number of letters, and the database's time at which they were counted."""
    row = connection.execute(f"{QUERIES['count']} {QUERIES['which']}".encode(), which).fetchone()
    return cast(tuple[int, datetime], row)


def steps(
    connection: Connection, which: dict[str, Any], began: datetime, step: int, limit: int | None
) -> Iterator[list[Letter]]:
    """Yield all that failed until `began`, the oldest first, each once, even if letters change meanwhile."""
    last: Letter | None = None
    left = limit
    while left is None or left > 0:
        after = {
            "after_at": None if last is None else last.failed_at,
            "after_id": None if last is None else last.dead_letter_id,
        }
        wanted = {"began": began, "step": step if left is None else min(step, left)}
        letters = _letters(connection, "next_step", {**which, **after, **wanted})
        if not letters:
            return
        yield letters
        last = letters[-1]
        left = None if left is None else left - len(letters)


def lineage(connection: Connection, dead_letter_id: str) -> list[tuple[str, str, str, datetime]]:
    """Return id, stage, reason and time of the earlier letters of this one's record, latest first."""
    rows = connection.execute(QUERIES["lineage"], {"id": dead_letter_id}).fetchall()
    return cast(list[tuple[str, str, str, datetime]], rows)


def _letters(connection: Connection, order: str, parameters: dict[str, Any]) -> list[Letter]:
    query = f"{QUERIES['letters']} {QUERIES['which']} {QUERIES[order]}"
    rows = cast(list[tuple[Any, ...]], connection.execute(query.encode(), parameters).fetchall())
    return [Letter(*row) for row in rows]
