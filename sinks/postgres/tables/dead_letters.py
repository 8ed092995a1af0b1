"""The archive of dead letters, each with the completion id of its record, if it has one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from uuid import UUID

from pipeline.topology.model import Topology
from schemas.codec import Undecodable, codec
from schemas.records import DeadLetter
from sinks.postgres.connect import Connection
from sinks.postgres.partitions import Partition
from sinks.postgres.queries import load_queries
from sinks.postgres.sink import Arrival, WriteReport

QUERIES = load_queries(Path(__file__).with_name("dead_letters.sql"))


class DeadLetterArchive:
    """Stores dead letters; they account for completions without a verdict."""

    name = "dead_letters"

    def __init__(self, topology: Topology) -> None:
        self._topology = topology

    def prepare(self, connection: Connection) -> None:
        """No preparation is required."""

    def partitions(self, event: DeadLetter) -> Iterable[Partition]:
        return ()

    def write(self, connection: Connection, arrivals: Sequence[Arrival[DeadLetter]]) -> WriteReport:
        rows = [
            (
                letter.dead_letter_id,
                letter.source_topic,
                letter.source_partition,
                letter.source_offset,
                letter.stage,
                letter.reason,
                letter.attempts,
                *self._ids_of(letter),
                letter.failed_at,
                letter.personal.key,
                letter.personal.value,
                _uuid(letter.redriven_from),
            )
            for letter in (arrival.event for arrival in arrivals)
        ]
        with connection.cursor() as cursor:
            cursor.executemany(QUERIES["insert_dead_letter"], rows)
            return WriteReport(cursor.rowcount, len(rows) - cursor.rowcount)

    def _ids_of(self, letter: DeadLetter) -> tuple[str | None, str | None]:
        """Completion and campaign id of the record; None where it has none or cannot be read."""
        role = self._topology.role_of(letter.source_topic)
        schema = self._topology.topic(role).schema if role is not None else None
        if schema is None:
            return None, None
        try:
            event = codec(schema).decode(letter.personal.value)
        except Undecodable:
            return None, None
        return _uuid(getattr(event, "completion_id", None)), _storable(getattr(event, "campaign_id", None))


def _storable(text: str | None) -> str | None:
    return None if text is None or "\0" in text else text


def _uuid(text: str | None) -> str | None:
    """Return the UUID, or None if it is not valid: a record and its headers may come from any producer."""
    try:
        return None if text is None else str(UUID(text))
    except ValueError:
        return None
