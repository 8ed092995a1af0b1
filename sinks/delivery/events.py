"""The event of a delivery's change of state: one builder, from the named row that the change returns."""

from __future__ import annotations

from datetime import date
from typing import NamedTuple, Protocol

from schemas.codec import codec
from schemas.records import DeliveryEvent

EVENTS_ROLE = "delivery_events"


class DeliveryChange(NamedTuple):
    """The columns that every statement which changes a delivery returns, in this order."""

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


class Changed(Protocol):
    """A row with at least the columns of `DeliveryChange`."""

    @property
    def campaign_id(self) -> str: ...
    @property
    def contact_id(self) -> str: ...
    @property
    def delivery_id(self) -> str: ...
    @property
    def tenant_id(self) -> str: ...
    @property
    def completion_id(self) -> str: ...
    @property
    def sequence(self) -> int: ...
    @property
    def state(self) -> str: ...
    @property
    def at_ms(self) -> int: ...
    @property
    def reason(self) -> str: ...
    @property
    def provider_message_id(self) -> str | None: ...
    @property
    def attempts(self) -> int: ...
    @property
    def attempt_id(self) -> str | None: ...
    @property
    def number_id(self) -> str | None: ...


def event_of(row: Changed) -> tuple[bytes, bytes]:
    """Key and value in the topic of `EVENTS_ROLE`; its time is that of the row, by the database's clock."""
    event = DeliveryEvent(
        delivery_id=row.delivery_id,
        tenant_id=row.tenant_id,
        campaign_id=row.campaign_id,
        contact_id=row.contact_id,
        completion_id=row.completion_id,
        sequence=row.sequence,
        state=row.state,
        at=row.at_ms,
        reason=row.reason,
        provider_message_id=row.provider_message_id,
        attempts=row.attempts,
        attempt_id=row.attempt_id,
        number_id=row.number_id,
    )
    return row.delivery_id.encode(), codec("delivery_event").encode(event)
