"""Applies the ledger's history from Kafka to a ledger that was restored from an older copy.

Events are stored while they are read, and applied at the end, when the sinks have created every delivery
again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.runtime.record import Record
from schemas.codec import Undecodable, codec
from schemas.records import DeliveryEvent
from sinks.delivery.events import EVENTS_ROLE, DeliveryChange, event_of
from sinks.delivery.state import DeliveryState
from sinks.postgres.connect import Connection
from sinks.postgres.named_rows import fetch
from sinks.postgres.outbox import enqueue_all
from sinks.postgres.queries import load_queries

QUERIES = load_queries(Path(__file__).with_name("restore.sql"))
OTHER_DELIVERY = (
    "the person has a delivery of this campaign under another contact id"  # as mark_calling says it
)
UNSURE = "the ledger was restored: it may have been called"


class _Known(NamedTuple):
    delivery_id: str
    sequence: int


class _Unplaced(NamedTuple):
    unplaced: int


def keep(connection: Connection, records: Sequence[Record]) -> int:
    """Store the events that are newer than their rows; return their number. Commits nothing."""
    events = [event for record in records if (event := _decoded(record)) is not None]
    ids = list({event.delivery_id for event in events})
    rows = fetch(connection, QUERIES["known_sequences"], _Known, [ids])
    known = {row.delivery_id: row.sequence for row in rows}
    newer = [event for event in events if known.get(event.delivery_id, 0) < event.sequence]
    with connection.cursor() as cursor:
        cursor.executemany(QUERIES["keep_delivery"], [_kept(event) for event in newer])
        calls = [e for e in newer if e.state == DeliveryState.CALLING and e.attempt_id is not None]
        cursor.executemany(
            QUERIES["keep_attempt"],
            [(e.attempt_id, e.delivery_id, e.number_id or "", e.attempts, e.at) for e in calls],
        )
        # A delivery that waits has a message only where a status took it back.
        back = [
            e for e in newer if e.state == DeliveryState.WAITING and e.attempt_id and e.provider_message_id
        ]
        cursor.executemany(
            QUERIES["keep_taken_back"],
            [
                (e.attempt_id, e.delivery_id, e.number_id or "", e.attempts, e.at, e.provider_message_id)
                for e in back
            ],
        )
    return len(newer)


def apply(connection: Connection) -> int:
    """Set every delivery to its last state, or to ambiguous if a call is possible; return the number changed.

    Called within the transaction that ends the recovery, while no delivery can be marked.
    """
    connection.execute(QUERIES["restore_suppressions"], {"other_delivery": OTHER_DELIVERY})
    connection.execute(QUERIES["restore_attempts"])
    changed = [
        *fetch(connection, QUERIES["restore_deliveries"], DeliveryChange, {"unsure": UNSURE}),
        *fetch(connection, QUERIES["doubt_leases"], DeliveryChange, {"unsure": UNSURE}),
    ]
    enqueue_all(connection, EVENTS_ROLE, map(event_of, changed))
    connection.execute(QUERIES["forget_placed"])
    connection.execute(QUERIES["forget_attempts"])
    return len(changed)


def unplaced(connection: Connection) -> int:
    """Return the deliveries with events in Kafka and without a row in the restored ledger."""
    (row,) = fetch(connection, QUERIES["count_unplaced"], _Unplaced)
    return row.unplaced


def _decoded(record: Record) -> DeliveryEvent | None:
    try:
        return codec("delivery_event").decode(record.value)
    except Undecodable:
        return None  # not written by this project


def _kept(event: DeliveryEvent) -> tuple[object, ...]:
    return (
        *(event.delivery_id, event.tenant_id, event.campaign_id, event.contact_id, event.sequence),
        *(event.state, event.reason, event.provider_message_id, event.attempts, event.attempt_id),
        event.number_id,
    )
