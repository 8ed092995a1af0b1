"""The archive of every accepted completion, read from its topic, and of the contacts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import msgspec

from schemas.records import Completion
from sinks.postgres.connect import Connection
from sinks.postgres.copy import copy_rows
from sinks.postgres.partitions import EPOCH, Partition
from sinks.postgres.queries import load_queries
from sinks.postgres.sink import Arrival, WriteReport
from sinks.postgres.tables import contacts

QUERIES = load_queries(Path(__file__).with_name("completions.sql"))
# An id that is repeated within this time is recognized: longer than the edge accepts old completions.
RETRIED_DAYS_MAX = 9
_TYPES = ["int4", "int4", *["text"] * 3, "int4", "text", "int8", "int8", "text", "float8", "text"]
_TYPES += ["int8", "bool", "text"]


class Completions:
    """COPY into a temporary table, then one merge: 2,000 completions in two round trips."""

    name = "completions"

    def prepare(self, connection: Connection) -> None:
        connection.execute(QUERIES["create_completions_batch"])
        contacts.prepare(connection)

    def partitions(self, event: Completion) -> Iterable[Partition]:
        return (Partition("completions", event.day),)

    def write(self, connection: Connection, arrivals: Sequence[Arrival[Completion]]) -> WriteReport:
        events = [arrival.event for arrival in arrivals]
        connection.execute(QUERIES["clear_completions_batch"])
        copy_rows(connection, QUERIES["copy_completions"], _TYPES, _rows(events))
        new = connection.execute(
            QUERIES["merge_completions"],
            {
                "first_day": EPOCH + timedelta(days=min(event.day for event in events) - 1),
                "last_day": EPOCH + timedelta(days=max(event.day for event in events) + 1),
                "retried_days_max": RETRIED_DAYS_MAX,
            },
            prepare=False,
        ).fetchall()
        first = {event.completion_id: event for event in reversed(events)}
        contacts.save(
            connection,
            (
                contacts.Sighting(e.tenant_id, e.contact_id, e.personal, e.accepted_at)
                for e in (first.get(str(completion_id)) for (completion_id,) in new)
                if e is not None
            ),
        )
        return WriteReport(len(new), len(events) - len(new))


def _rows(events: Sequence[Completion]) -> Iterator[Sequence[object]]:
    encode = msgspec.json.Encoder().encode
    for ordinal, event in enumerate(events):
        consent = event.consent
        yield (
            ordinal,
            event.day,
            event.completion_id,
            event.tenant_id,
            event.quiz_id,
            event.quiz_version,
            event.contact_id,
            event.submitted_at,
            event.accepted_at,
            encode(event.answers).decode(),
            event.score,
            event.region,
            event.clock_ahead_ms,
            None if consent is None else consent.granted,
            None if consent is None else consent.text,
        )
