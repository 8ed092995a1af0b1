"""The sink that turns events of deliveries into messages to endpoints: the durable queue of the sender."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from schemas.records import DeliveryEvent
from sinks.outbound.content import content_of, kind_of
from sinks.postgres.catalogue.webhooks.endpoints import KINDS
from sinks.postgres.connect import Connection
from sinks.postgres.named_rows import fetch
from sinks.postgres.partitions import Partition
from sinks.postgres.queries import load_queries
from sinks.postgres.sink import Arrival, WriteReport

QUERIES = load_queries(Path(__file__).with_name("messages.sql"))


class _Stored(NamedTuple):
    matched: int
    inserted: int


class WebhookMessages:
    """A message for each event and endpoint that chose its kind. Most tenants have no endpoint."""

    name = "webhook_messages"

    def prepare(self, connection: Connection) -> None:
        """No preparation is required."""

    def partitions(self, event: DeliveryEvent) -> Iterable[Partition]:
        return ()

    def write(self, connection: Connection, arrivals: Sequence[Arrival[DeliveryEvent]]) -> WriteReport:
        events = [arrival.event for arrival in arrivals if kind_of(arrival.event) in KINDS]
        tenants = sorted({event.tenant_id for event in events})
        listening = {str(tenant) for (tenant,) in connection.execute(QUERIES["listening"], [tenants])}
        events = [event for event in events if event.tenant_id in listening]
        if not events:
            return WriteReport(0, 0)
        given = {
            "tenants": [event.tenant_id for event in events],
            "deliveries": [event.delivery_id for event in events],
            "sequences": [event.sequence for event in events],
            "kinds": [kind_of(event) for event in events],
            "times": [event.at for event in events],
            "contents": [content_of(event) for event in events],
        }
        (stored,) = fetch(connection, QUERIES["insert_messages"], _Stored, given)
        return WriteReport(stored.inserted, stored.matched - stored.inserted)
