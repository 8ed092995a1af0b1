"""The archive of verdicts: one for every completion, so that a missing one is a loss."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path

import msgspec

from schemas.records import Outcome
from sinks.postgres.connect import Connection
from sinks.postgres.copy import copy_rows
from sinks.postgres.partitions import EPOCH, Partition
from sinks.postgres.queries import load_queries
from sinks.postgres.sink import Arrival, WriteReport

QUERIES = load_queries(Path(__file__).with_name("outcomes.sql"))
_TYPES = ["int4", "int4", *["text"] * 4, "int8", *["text"] * 3]


class Outcomes:
    """Writes verdicts with COPY and a merge; a verdict of the same record again is a repeat."""

    name = "outcomes"

    def prepare(self, connection: Connection) -> None:
        connection.execute(QUERIES["create_outcomes_batch"])

    def partitions(self, event: Outcome) -> Iterable[Partition]:
        return (Partition("outcomes", event.day),)

    def write(self, connection: Connection, arrivals: Sequence[Arrival[Outcome]]) -> WriteReport:
        events = [arrival.event for arrival in arrivals]
        connection.execute(QUERIES["clear_outcomes_batch"])
        rows = (
            (
                ordinal,
                event.day,
                event.completion_id,
                event.tenant_id,
                event.quiz_id,
                event.contact_id,
                event.accepted_at,
                event.verdict,
                event.reason,
                msgspec.json.encode(event.campaigns).decode(),
            )
            for ordinal, event in enumerate(events)
        )
        copy_rows(connection, QUERIES["copy_outcomes"], _TYPES, rows)
        days = {
            "first_day": EPOCH + timedelta(days=min(event.day for event in events) - 1),
            "last_day": EPOCH + timedelta(days=max(event.day for event in events) + 1),
        }
        written = connection.execute(QUERIES["merge_outcomes"], days, prepare=False).rowcount
        return WriteReport(written, len(events) - written)
