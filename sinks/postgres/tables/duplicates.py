"""The archive of duplicates: matches after the first, each with the completion id of the first one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from schemas.records import Duplicate
from sinks.postgres.connect import Connection
from sinks.postgres.partitions import Partition
from sinks.postgres.queries import load_queries
from sinks.postgres.sink import Arrival, WriteReport

QUERIES = load_queries(Path(__file__).with_name("duplicates.sql"))


class Duplicates:
    """Single inserts, pipelined by the driver: duplicates are few."""

    name = "duplicates"

    def prepare(self, connection: Connection) -> None:
        """No preparation is required."""

    def partitions(self, event: Duplicate) -> Iterable[Partition]:
        return (Partition("duplicates", event.day),)

    def write(self, connection: Connection, arrivals: Sequence[Arrival[Duplicate]]) -> WriteReport:
        rows = [
            (
                event.day,
                event.completion_id,
                event.campaign_id,
                event.tenant_id,
                event.contact_id,
                event.first_completion_id,
                event.accepted_at,
            )
            for event in (arrival.event for arrival in arrivals)
        ]
        with connection.cursor() as cursor:
            cursor.executemany(QUERIES["insert_duplicate"], rows)
            return WriteReport(cursor.rowcount, len(rows) - cursor.rowcount)
