"""An event of a delivery as its tenant receives it.

With the ids by which the tenant API finds the rest. Left out is the provider's message id: some providers
write the phone number into it.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from schemas.records import DeliveryEvent

REASON_CHARS_MAX = 500


class Data(msgspec.Struct, frozen=True):
    delivery_id: str
    campaign_id: str
    contact_id: str
    completion_id: str
    sequence: int
    state: str
    reason: str
    attempts: int
    number_id: str | None


class Content(msgspec.Struct, frozen=True):
    """The body of a webhook, in the form that Standard Webhooks recommends."""

    type: str
    timestamp: datetime
    data: Data


def kind_of(event: DeliveryEvent) -> str:
    return f"delivery.{event.state}"


def content_of(event: DeliveryEvent) -> str:
    """JSON. The same event always has the same."""
    data = Data(
        event.delivery_id,
        event.campaign_id,
        event.contact_id,
        event.completion_id,
        event.sequence,
        event.state,
        event.reason[:REASON_CHARS_MAX],
        event.attempts,
        event.number_id,
    )
    at = datetime.fromtimestamp(event.at / 1000, UTC)
    return msgspec.json.encode(Content(kind_of(event), at, data)).decode()
