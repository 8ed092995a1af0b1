"""What is read of stored events of people: the list for operators, the 24 h window; and their retention."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sinks.delivery.webhooks.inbound import QUERIES
from sinks.postgres import metrics
from sinks.postgres.connect import Connection
from sinks.postgres.named_rows import fetch

DELETE_BATCH_MAX = 5_000
COUNTED_MAX = 100_000  # the metric shows at most so many
CONSENTS = ("stop", "resume", "perhaps", "")


class Listed(NamedTuple):
    """One event without its text and without the person."""

    event_id: str
    provider: str
    number_id: str
    kind: str
    consent: str | None
    at: datetime
    resolved: bool
    reason: str


class _Unresolved(NamedTuple):
    consent: str
    events: int


def enforce(connection: Connection, days: int, unresolved_days: int) -> None:
    """Deletes events after `days`; decisions of people who are not known yet after `unresolved_days`."""
    given = {"days": days, "unresolved_days": unresolved_days, "limit": DELETE_BATCH_MAX}
    deleted = DELETE_BATCH_MAX
    while deleted == DELETE_BATCH_MAX:
        deleted = max(0, connection.execute(QUERIES["delete_old"], given).rowcount)
        metrics.INBOUND_DELETED.inc(deleted)
    connection.execute(QUERIES["erase_texts"], {"days": days})


def show_unresolved(connection: Connection) -> None:
    """Sets the metric of events that lead to no contact."""
    counts = {
        row.consent: row.events
        for row in fetch(connection, QUERIES["count_unresolved"], _Unresolved, {"most": COUNTED_MAX})
    }
    for consent in CONSENTS:
        metrics.INBOUND_UNRESOLVED.labels(consent or "none").set(counts.get(consent, 0))


def list_events(connection: Connection, *, consent: str | None, unresolved: bool, limit: int) -> list[Listed]:
    """The newest first."""
    given = {"consent": consent, "unresolved": unresolved, "limit": limit}
    return fetch(connection, QUERIES["list_events"], Listed, given)


class _Window(NamedTuple):
    until: datetime | None


def window_until(connection: Connection, tenant_id: str, contact_id: str, number_id: str) -> datetime | None:
    """Until when the provider lets the number write free text to the contact; None if it never wrote."""
    given = {"tenant": tenant_id, "contact": contact_id, "number": number_id}
    (row,) = fetch(connection, QUERIES["window_until"], _Window, given)
    return row.until
