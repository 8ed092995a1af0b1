"""What a sink is: it writes a batch of events of one topic to one database, as often as it is told to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Generic, Protocol, TypeVar

import msgspec

from pipeline.runtime.record import Record
from sinks.postgres.connect import Connection
from sinks.postgres.partitions import Partition

Event = TypeVar("Event")


class Arrival(msgspec.Struct, Generic[Event], frozen=True):
    """An event with the record that brought it."""

    record: Record
    event: Event


class Refused(msgspec.Struct, frozen=True):
    """A record that goes to the dead letters; `reason` is shown to an operator, so no personal data."""

    record: Record
    reason: str


class WriteReport(msgspec.Struct, frozen=True):
    """What a write changed: `rows` new ones, and `repeats` events that were there already."""

    rows: int
    repeats: int

    def __add__(self, other: WriteReport) -> WriteReport:
        return WriteReport(self.rows + other.rows, self.repeats + other.repeats)


class Sink(Protocol[Event]):
    """One kind of event on its way into tables."""

    name: str
    """As in `topology.yaml`, under `sinks`."""

    def prepare(self, connection: Connection) -> None:
        """Called once for each new connection, outside of a transaction, before anything else."""
        ...

    def partitions(self, event: Event) -> Iterable[Partition]:
        """Those that must exist before `event` is written."""
        ...

    def write(self, connection: Connection, arrivals: Sequence[Arrival[Event]]) -> WriteReport:
        """Write the batch (at least one event, in the order of each partition's offsets).

        Called inside a transaction that the caller commits: no commit in here, and nothing that outlives a
        rollback. Writing the same batch again changes nothing, alone, in parts or together with other events;
        of several payloads with one id the first wins. May be called several times in one transaction. Raises
        `psycopg.Error`; the caller tells a bad event from a bad moment.
        """
        ...
