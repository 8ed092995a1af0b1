"""Creates the ledger's rows; the primary key of campaign and contact decides what is a duplicate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from schemas.records import Match
from sinks.delivery.events import EVENTS_ROLE, DeliveryChange, event_of
from sinks.postgres.connect import Connection
from sinks.postgres.copy import copy_rows
from sinks.postgres.named_rows import fetch
from sinks.postgres.outbox import enqueue_all
from sinks.postgres.partitions import Partition
from sinks.postgres.queries import load_queries
from sinks.postgres.sink import Arrival, WriteReport
from sinks.postgres.tables import contacts

QUERIES = load_queries(Path(__file__).with_name("deliveries.sql"))
_TYPES = [
    *["int4", "int4"],
    *["text"] * 4,
    *["int4", "text", "int4", "text"],
    *["int8", "int8", "int4"],
]


class Deliveries:
    """Stores a match as a waiting delivery, or as a duplicate if the contact already has one."""

    name = "deliveries"

    def __init__(self, route_patience_s: float = 60.0) -> None:
        """`route_patience_s`: the topology's, after which a number counts as unable to send."""
        self._patience = {"patience_s": route_patience_s}

    def prepare(self, connection: Connection) -> None:
        connection.execute(QUERIES["create_deliveries_batch"])
        contacts.prepare(connection)

    def partitions(self, event: Match) -> Iterable[Partition]:
        return (Partition("deliveries", event.campaign_month), Partition("duplicates", event.day))

    def write(self, connection: Connection, arrivals: Sequence[Arrival[Match]]) -> WriteReport:
        events = [arrival.event for arrival in arrivals]
        connection.execute(QUERIES["clear_deliveries_batch"])
        rows = (
            (
                ordinal,
                event.campaign_month,
                event.campaign_id,
                event.contact_id,
                event.delivery_id,
                event.tenant_id,
                event.campaign_version,
                event.completion_id,
                event.day,
                msgspec.json.encode(event.variables).decode(),
                event.accepted_at,
                event.delay_s,
                event.priority,
            )
            for ordinal, event in enumerate(events)
        )
        copy_rows(connection, QUERIES["copy_deliveries"], _TYPES, rows)
        opened = fetch(connection, QUERIES["insert_deliveries"], DeliveryChange, self._patience)
        if opened:
            enqueue_all(connection, EVENTS_ROLE, map(event_of, opened))
        opened_by = {(row.campaign_id, row.contact_id, row.completion_id) for row in opened}
        second = self._second_matches(connection, events, opened_by)
        contacts.save(
            connection,
            (
                contacts.Sighting(e.tenant_id, e.contact_id, e.personal, e.accepted_at)
                for e in events
                if (e.campaign_id, e.contact_id, e.completion_id) in opened_by
            ),
        )
        written = len(opened) + second
        return WriteReport(written, len(events) - written)

    def _second_matches(
        self, connection: Connection, events: Sequence[Match], opened: set[tuple[str, str, str]]
    ) -> int:
        left = [
            ordinal
            for ordinal, event in enumerate(events)
            if (event.campaign_id, event.contact_id, event.completion_id) not in opened
        ]
        return connection.execute(QUERIES["insert_second_matches"], [left]).rowcount if left else 0
