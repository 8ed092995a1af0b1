"""The table `visits`: one row for each visit of a quiz and day, however many reports it made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from schemas.records import Progress
from sinks.postgres.connect import Connection
from sinks.postgres.copy import copy_rows
from sinks.postgres.partitions import Partition
from sinks.postgres.queries import load_queries
from sinks.postgres.sink import Arrival, WriteReport
from sinks.visits.visit import Visit

QUERIES = load_queries(Path(__file__).with_name("visits.sql"))
_TYPES = ["int4", *["text"] * 3, *["int4"] * 2, "text", "bool", *["int8"] * 5]
_Key = tuple[int, str, str, str]


class Visits:
    """Merges the batch first, so that a visit is one row of it; then merges that into the table.

    Of a write, `rows` are new and changed visits, `repeats` the reports that needed no row of their own.
    """

    name = "visits"

    def prepare(self, connection: Connection) -> None:
        connection.execute(QUERIES["create_visits_batch"])

    def partitions(self, event: Progress) -> Iterable[Partition]:
        return (Partition("visits", event.day),)

    def write(self, connection: Connection, arrivals: Sequence[Arrival[Progress]]) -> WriteReport:
        visits: dict[_Key, Visit] = {}
        for arrival in arrivals:
            event = arrival.event
            key = (event.day, event.quiz_id, event.visit_id, event.tenant_id)
            known, seen = visits.get(key), Visit.of(event)
            visits[key] = seen if known is None else known.merge(seen)
        connection.execute(QUERIES["clear_visits_batch"])
        rows = (
            (
                *key,
                visit.quiz_version,
                visit.furthest,
                visit.question_id,
                visit.progressed,
                visit.active_at,
                visit.abandoned_at,
                visit.completed_at,
                visit.first_seen_at,
                visit.last_seen_at,
            )
            for key, visit in visits.items()
        )
        copy_rows(connection, QUERIES["copy_visits"], _TYPES, rows)
        written = connection.execute(QUERIES["merge_visits"], prepare=False).rowcount
        return WriteReport(written, len(arrivals) - written)
