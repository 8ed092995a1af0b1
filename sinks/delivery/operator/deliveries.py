"""Deliveries for operators: pages by key, and one delivery with its whole ledger history."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple, cast
from uuid import UUID

import msgspec

from pipeline.errors import OperatorError
from schemas.phones import masked
from sinks import providers
from sinks.delivery.state import DeliveryState
from sinks.postgres.connect import Connection
from sinks.postgres.named_rows import fetch
from sinks.postgres.page import Page, page_of
from sinks.postgres.queries import load_queries

QUERIES = load_queries(Path(__file__).with_name("deliveries.sql"))
NEEDS_AN_OPERATOR = (DeliveryState.AMBIGUOUS, DeliveryState.DEAD)


class BadDeliveryId(OperatorError):
    """Not a UUID."""


class UnknownDelivery(OperatorError):
    """The ledger has no such delivery."""


class BadCursor(OperatorError):
    """Not the cursor of a page."""


class Delivery(NamedTuple):
    """A row of the ledger, without personal data. `route`: the number that is to send it; None: not chosen
    yet. `number_id`: that of the last attempt.
    """

    campaign_month: date
    campaign_id: str
    contact_id: str
    delivery_id: str
    tenant_id: str
    completion_id: str
    state: str
    reason: str
    attempts: int
    channel: str
    route: str | None
    number_id: str | None
    provider_message_id: str | None
    created_at: datetime
    updated_at: datetime
    redrives: int


class Chosen(NamedTuple):
    """Which deliveries; None: all. `why` is a part of the reason, such as a code of the provider.

    `since` and `until` are about the last change of state.
    """

    states: Sequence[DeliveryState] | None = None
    tenant_id: str | None = None
    campaign_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    why: str | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        return {
            "states": None if self.states is None else [str(state) for state in self.states],
            "tenant": self.tenant_id,
            "campaign": self.campaign_id,
            "since": self.since,
            "until": self.until,
            "why": self.why,
        }


UNDECIDED = Chosen(NEEDS_AN_OPERATOR)


class AttemptRow(NamedTuple):
    """One call. `outcome` None: it has no end yet. `resolved_*`: an operator's word."""

    attempt_id: str
    attempt: int
    number_id: str
    provider: str
    channel: str | None  # None: from before there were others than WhatsApp
    called_at: datetime
    finished_at: datetime | None
    outcome: str | None
    code: str | None
    action: str | None
    detail: str | None
    provider_message_id: str | None


class StatusRow(NamedTuple):
    """What a webhook of the provider said. `merged` False: it waits for the delivery's own result."""

    provider: str
    provider_message_id: str
    status: str
    at: datetime
    errors: Any
    merged: bool


class Known(NamedTuple):
    """`phone` is masked, None where the contact has none."""

    delivery: Delivery
    phone: str | None
    attempts: list[AttemptRow]
    statuses: list[StatusRow]


class Place(msgspec.Struct, frozen=True):
    """The ledger's key, as the cursor of a page: campaign month, campaign and contact between slashes."""

    month: date | None = None
    campaign_id: str = ""
    contact_id: str = ""

    @classmethod
    def parse(cls, cursor: str | None) -> Place:
        """None is the place before the first row. Raises BadCursor."""
        if cursor is None:
            return cls()
        try:
            month, campaign_id, contact_id = cursor.split("/")
            return cls(date.fromisoformat(month), campaign_id, contact_id)
        except ValueError:
            raise BadCursor(f"{cursor!r} is not a cursor: take that which a page ended with.") from None

    def __str__(self) -> str:
        return f"{self.month}/{self.campaign_id}/{self.contact_id}"

    @property
    def parameters(self) -> dict[str, Any]:
        return {"month": self.month, "after_campaign": self.campaign_id, "after_contact": self.contact_id}


def delivery_uuid(text: str) -> UUID:
    """Raises BadDeliveryId."""
    try:
        return UUID(text.strip())
    except ValueError:
        raise BadDeliveryId(f"{text!r} is not an id of a delivery: give its UUID.") from None


def list_deliveries(
    connection: Connection,
    chosen: Chosen = UNDECIDED,
    *,
    redrives_min: int | None = None,
    after: str | None = None,
    limit: int,
) -> Page[Delivery]:
    """One query; `after` is the cursor of the page before. Raises BadCursor.

    `redrives_min`: only those that were redriven so often.
    """
    parameters = {
        **Place.parse(after).parameters,
        **chosen.parameters,
        "redrives_min": redrives_min,
        "limit": limit + 1,
    }
    found = fetch(connection, QUERIES[query_of(chosen)], Delivery, parameters)
    return page_of(found, limit, lambda row: str(place_of(row)))


def query_of(chosen: Chosen) -> str:
    """A tenant's deliveries lie between those of others: they are found by its campaigns."""
    return "list_deliveries" if chosen.tenant_id is None else "list_deliveries_of_tenant"


def place_of(row: Delivery) -> Place:
    return Place(row.campaign_month, row.campaign_id, row.contact_id)


def get_delivery(connection: Connection, delivery_id: UUID) -> Delivery:
    """Raises UnknownDelivery."""
    found = fetch(connection, QUERIES["get_delivery"], Delivery, {"delivery_id": delivery_id})
    if not found:
        raise UnknownDelivery(f"The ledger has no delivery {delivery_id}.")
    return found[0]


def known_of(connection: Connection, delivery_id: UUID) -> Known:
    """Raises UnknownDelivery."""
    delivery = get_delivery(connection, delivery_id)
    attempts = fetch(connection, QUERIES["attempts_of"], AttemptRow, {"delivery_id": delivery_id})
    messages = {row.provider_message_id for row in attempts if row.provider_message_id is not None}
    if delivery.provider_message_id is not None:
        messages.add(delivery.provider_message_id)
    about = {
        "providers": [*providers.names(), *providers.FORMER_NAMES],
        "messages": sorted(messages),
        "attempts": [row.attempt_id for row in attempts],
    }
    statuses = fetch(connection, QUERIES["statuses_of"], StatusRow, about)
    whose = {"tenant": delivery.tenant_id, "contact": delivery.contact_id}
    phone = cast(tuple[str | None] | None, connection.execute(QUERIES["phone_of"], whose).fetchone())
    return Known(delivery, masked(phone[0]) if phone and phone[0] else None, attempts, statuses)
