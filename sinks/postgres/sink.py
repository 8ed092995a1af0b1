"""The contract of a sink: it writes a batch of events of one topic to one database, idempotently."""

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
    """A record for the dead letters; `reason` is shown to operators and contains no personal data."""

    record: Record
    reason: str


class WriteReport(msgspec.Struct, frozen=True):
    """The result of a write: `rows`: new rows; `repeats`: events that were stored before."""

    rows: int
    repeats: int

    def __add__(self, other: WriteReport) -> WriteReport:
        return WriteReport(self.rows + other.rows, self.repeats + other.repeats)


class Sink(Protocol[Event]):
    """Writes one kind of event into tables."""

    name: str
    """As in `topology.yaml`, under `sinks`."""

    def prepare(self, connection: Connection) -> None:
        """Prepare a new connection; called once for each, outside of a transaction, before anything else."""
        ...

    def partitions(self, event: Event) -> Iterable[Partition]:
        """Return the partitions that must exist before `event` is written."""
        ...

    def write(self, connection: Connection, arrivals: Sequence[Arrival[Event]]) -> WriteReport:
        """Write the batch (at least one event, in the order of each partition's offsets).

        - The caller's transaction is open and the caller commits it: no commit here, and no effect that
          survives a rollback.
        - Writing the same batch again changes nothing: alone, in parts or together with other events.
        - Of several payloads with one id the first wins.
        - May be called several times in one transaction.
        - Raises `psycopg.Error`; the caller distinguishes poison events from transient errors.
        """
        ...
