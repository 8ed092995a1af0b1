"""The ledger's history in Kafka, taken into a ledger that was restored from an older copy.

While it is read it is only kept; it is applied at the end, when the sinks have opened every delivery again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from pipeline.runtime.record import Record
from schemas.codec import Undecodable, codec
from schemas.records import DeliveryEvent
from sinks.postgres.connect import Connection
from sinks.postgres.outbox import enqueue_all
from sinks.postgres.queries import load_queries
from sinks.postgres.tables.deliveries import EVENTS_ROLE

QUERIES = load_queries(Path(__file__).with_name("restore.sql"))
UNSURE = "the ledger was restored: it may have been called"

Row = tuple[str, str, str, str, str, int, str, str, str | None, int, str | None, str | None]


def keep(connection: Connection, records: Sequence[Record]) -> int:
    """Keeps those events that are newer than their rows; returns how many there were. Commits nothing."""
    events = [event for record in records if (event := _decoded(record)) is not None]
    rows = connection.execute(QUERIES["known_sequences"], [list({event.delivery_id for event in events})])
    known = cast(dict[str, int], dict(rows.fetchall()))  # type: ignore[arg-type]
    newer = [event for event in events if known.get(event.delivery_id, 0) < event.sequence]
    with connection.cursor() as cursor:
        cursor.executemany(QUERIES["keep_delivery"], [_kept(event) for event in newer])
        calls = [event for event in newer if event.state == "calling" and event.attempt_id is not None]
        cursor.executemany(
            QUERIES["keep_attempt"],
            [(e.attempt_id, e.delivery_id, e.number_id or "", e.attempts, e.at) for e in calls],
        )
    return len(newer)


def apply(connection: Connection) -> int:
    """Makes every delivery what it last was, or ambiguous where a call cannot be ruled out.

    Within the transaction that ends the recovery, with marks shut out. Returns how many were changed.
    """
    connection.execute(QUERIES["restore_suppressions"])
    connection.execute(QUERIES["restore_attempts"])
    changed = [
        *cast(list[Row], connection.execute(QUERIES["restore_deliveries"], {"unsure": UNSURE}).fetchall()),
        *cast(list[Row], connection.execute(QUERIES["doubt_leases"], {"unsure": UNSURE}).fetchall()),
    ]
    at_ms = int(datetime.now(UTC).timestamp() * 1000)
    enqueue_all(connection, EVENTS_ROLE, [_event(row, at_ms) for row in changed])
    connection.execute(QUERIES["forget_placed"])
    connection.execute(QUERIES["forget_attempts"])
    return len(changed)


def unplaced(connection: Connection) -> int:
    """Deliveries of which Kafka holds a history, and the restored ledger no row."""
    return int(str(cast(tuple[int], connection.execute(QUERIES["count_unplaced"]).fetchone())[0]))


def _decoded(record: Record) -> DeliveryEvent | None:
    try:
        return codec("delivery_event").decode(record.value)
    except Undecodable:
        return None  # written by nobody of this project


def _kept(event: DeliveryEvent) -> tuple[object, ...]:
    return (
        *(event.delivery_id, event.tenant_id, event.campaign_id, event.contact_id, event.sequence),
        *(event.state, event.reason, event.provider_message_id, event.attempts, event.attempt_id),
        event.number_id,
    )


def _event(row: Row, at_ms: int) -> tuple[bytes, bytes]:
    event = DeliveryEvent(
        *row[:7],
        at=at_ms,
        reason=row[7],
        provider_message_id=row[8],
        attempts=row[9],
        attempt_id=row[10],
        number_id=row[11],
    )
    return event.delivery_id.encode(), codec("delivery_event").encode(event)
