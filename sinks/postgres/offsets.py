"""The committed offsets of each sink: stored in the tables' database and moved in the rows' transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sinks.postgres.connect import Connection
from sinks.postgres.queries import load_queries

QUERIES = load_queries(Path(__file__).with_name("offsets.sql"))


class Overtaken(Exception):
    """Another process has moved a partition's offset: this transaction must be rolled back."""


@dataclass(frozen=True, slots=True)
class Move:
    """The change of one partition's next offset."""

    partition: int
    before: int
    after: int


def read(connection: Connection, sink: str, topic: str) -> dict[int, int]:
    """Return the next offset of each partition that has one."""
    rows = connection.execute(QUERIES["read_positions"], [sink, topic])
    return {int(str(partition)): int(str(offset)) for partition, offset in rows}


def begin(connection: Connection, sink: str, topic: str, starts: Mapping[int, int]) -> None:
    """Set the first offset of partitions; existing ones stay."""
    with connection.transaction():
        for partition, offset in sorted(starts.items()):
            connection.execute(QUERIES["begin_position"], [sink, topic, partition, offset])


def move(connection: Connection, sink: str, topic: str, moves: Mapping[int, Move]) -> None:
    """Move offsets with compare-and-set.

    Call it first in the transaction: of two transactions on one partition the second waits here. Raises
    `Overtaken` if an offset is not the one that this process has set.
    """
    steps = moves.values()
    moved = connection.execute(
        QUERIES["move_positions"],
        {
            "sink": sink,
            "topic": topic,
            "partitions": [step.partition for step in steps],
            "before": [step.before for step in steps],
            "after": [step.after for step in steps],
        },
    ).fetchall()
    left = {step.partition: step.before for step in steps}
    for (partition,) in moved:
        del left[int(str(partition))]
    for partition, before in sorted(left.items()):
        raise Overtaken(f"{topic}[{partition}] is no longer at {before}")
