"""Deliveries of the tenant, each with its attempts and the provider's statuses."""

from __future__ import annotations

from typing import Any

import msgspec

from ingest_api.http.problems import rejection
from ingest_api.tenants.api.operation import AFTER, PAGE_ROWS, Answer, Call, Operation, unknown
from ingest_api.tenants.api.problems import INVALID_QUERY
from sinks.delivery.operator.deliveries import (
    BadCursor,
    BadDeliveryId,
    Chosen,
    Delivery,
    UnknownDelivery,
    delivery_uuid,
    known_of,
    list_deliveries,
)
from sinks.delivery.state import DeliveryState
from sinks.postgres.page import Page, as_mappings


class DeliveryHistory(msgspec.Struct, frozen=True):
    """`phone` is masked. `attempts`: each call to the provider; `statuses`: what its webhooks reported."""

    delivery: dict[str, Any]
    phone: str | None
    attempts: list[dict[str, Any]]
    statuses: list[dict[str, Any]]


def listed(call: Call) -> Answer:
    try:
        state = call.query.get("state")
        states = None if state is None else [DeliveryState(state)]
        chosen = Chosen(states, call.tenant_id, call.query.get("campaign"))
        page = list_deliveries(call.connection, chosen, after=call.after, limit=PAGE_ROWS)
    except ValueError:
        known = ", ".join(DeliveryState)
        raise rejection(INVALID_QUERY, f"a state is one of {known}") from None
    except BadCursor:
        raise rejection(INVALID_QUERY, "`after` is not a cursor: take `next` of a page") from None
    return Answer(as_mappings(page))


def read(call: Call) -> Answer:
    try:
        known = known_of(call.connection, delivery_uuid(call.id))
    except (BadDeliveryId, UnknownDelivery):
        raise unknown("delivery") from None
    if known.delivery.tenant_id != call.tenant_id:
        raise unknown("delivery")
    return Answer(
        DeliveryHistory(
            known.delivery._asdict(),
            known.phone,
            [attempt._asdict() for attempt in known.attempts],
            [status._asdict() for status in known.statuses],
        )
    )


FILTERS = {"state": "only deliveries in this state", "campaign": "only deliveries of this campaign"}
OPERATIONS = (
    Operation(
        *("listDeliveries", "GET", "/v1/deliveries", "read", "List deliveries, by campaign", listed),
        answer=Page[Delivery],
        id_at="/items/0/delivery_id",
        query=AFTER | FILTERS,
    ),
    Operation(
        *("readDelivery", "GET", "/v1/deliveries/{id}", "read", "Read a delivery's history", read),
        answer=DeliveryHistory,
    ),
)
