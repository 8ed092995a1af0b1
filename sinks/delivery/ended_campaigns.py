"""Cancels deliveries that still wait long after their campaign ended: no contact expects the message."""

from __future__ import annotations

from collections.abc import Sequence

from sinks.delivery.events import EVENTS_ROLE, DeliveryChange, event_of
from sinks.delivery.statements import statement
from sinks.postgres.connect import Connection
from sinks.postgres.named_rows import fetch
from sinks.postgres.outbox import enqueue_all


def cancel_open(connection: Connection, campaign_ids: Sequence[str], rows_max: int) -> int:
    """At most `rows_max`, each with its event; returns how many. Call it within a transaction."""
    parameters = {"campaigns": [*campaign_ids], "limit": rows_max}
    changed = fetch(connection, statement("cancel_ended"), DeliveryChange, parameters)
    enqueue_all(connection, EVENTS_ROLE, map(event_of, changed))
    return len(changed)
