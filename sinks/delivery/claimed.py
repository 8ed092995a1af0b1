"""A delivery as a sender leases it: its row in the ledger, and the `Leased` made of it."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, NamedTuple
from uuid import UUID

from schemas.records import Personal
from sinks.delivery.events import DeliveryChange
from sinks.delivery.rows import Key, Leased


class ClaimedRow(NamedTuple):
    """`DeliveryChange`, and what a message is made of."""

    campaign_month: date
    campaign_id: str
    contact_id: str
    delivery_id: str
    tenant_id: str
    completion_id: str
    sequence: int
    state: str
    at_ms: int
    reason: str
    provider_message_id: str | None
    attempts: int
    attempt_id: str | None
    number_id: str | None
    campaign_version: int
    variables: dict[str, Any]
    priority: int
    due_at: datetime
    created_at: datetime
    lease_token: UUID
    phone: str | None
    name: str | None
    email: str | None
    with_fallbacks: bool
    channel: str
    route: str


def key_of(row: DeliveryChange | ClaimedRow) -> Key:
    return Key(row.campaign_month, row.campaign_id, row.contact_id)


def leased(row: ClaimedRow, event_id: int) -> Leased:
    return Leased(
        key=key_of(row),
        delivery_id=row.delivery_id,
        tenant_id=row.tenant_id,
        campaign_version=row.campaign_version,
        variables={str(name): str(value) for name, value in row.variables.items() if value is not None},
        priority=row.priority,
        due_at=row.due_at,
        created_at=row.created_at,
        attempts=row.attempts,
        lease_token=row.lease_token,
        phone=row.phone,
        personal=Personal(phone=row.phone, name=row.name, email=row.email),
        event_id=event_id,
        with_fallbacks=row.with_fallbacks,
        channel=row.channel,
        route=row.route,
    )
