"""Endpoints of the tenant that receive its events, and what was sent to them."""

from __future__ import annotations

from typing import Any

import msgspec

from ingest_api.http.problems import rejection
from ingest_api.tenants.api.operation import AFTER, PAGE_ROWS, Answer, Call, Operation
from ingest_api.tenants.api.problems import HELD, INVALID_QUERY
from ingest_api.tenants.resources.api_keys import Rotate
from ingest_api.tenants.resources.tenants import BIGINT_MAX, Saved
from sinks.postgres.catalogue.webhooks.endpoints import (
    Endpoint,
    EndpointChange,
    EndpointDraft,
    EndpointHeld,
    Limits,
    change_endpoint,
    delete_endpoint,
    find_endpoint,
    list_endpoints,
    lock_endpoint,
    make_endpoint,
    rotate_secret,
)
from sinks.postgres.catalogue.webhooks.messages import STATES, Message, list_messages, redeliver
from sinks.postgres.catalogue.webhooks.targets import networks
from sinks.postgres.page import Page, as_mappings


class MadeEndpoint(msgspec.Struct, frozen=True):
    """`secret` is shown once: null in the answer to a repetition."""

    endpoint: dict[str, Any]
    secret: str | None


class Secret(msgspec.Struct, frozen=True):
    """`secret` is shown once: null in the answer to a repetition."""

    secret: str | None


def create(call: Call) -> Answer:
    made = make_endpoint(
        *(call.connection, call.actor, call.tenant_id, call.body, _limits(call)),
        key=call.contact_key,
        random_text=call.random_text,
    )
    shown = made.endpoint._asdict()
    return Answer(MadeEndpoint(shown, made.secret), 201, repeated=MadeEndpoint(shown, None))


def listed(call: Call) -> Answer:
    page = list_endpoints(call.connection, call.tenant_id, limit=PAGE_ROWS, after=call.after)
    return Answer(as_mappings(page))


def read(call: Call) -> Answer:
    return Answer(find_endpoint(call.connection, call.tenant_id, call.id)._asdict())


def change(call: Call) -> Answer:
    call.require_unchanged(lock_endpoint(call.connection, call.tenant_id, call.id)._asdict(), WRITTEN)
    place = (call.connection, call.actor, call.tenant_id, call.id)
    return Answer(change_endpoint(*place, call.body, _limits(call))._asdict())


def delete(call: Call) -> Answer:
    try:
        delete_endpoint(call.connection, call.actor, call.tenant_id, call.id)
    except EndpointHeld:
        raise rejection(HELD, "an operator has paused it: it can be disabled, and not deleted") from None
    return Answer(None, 204)


def rotate(call: Call) -> Answer:
    secret = rotate_secret(
        *(call.connection, call.actor, call.tenant_id, call.id),
        overlap_s=call.body.overlap_s,
        key=call.contact_key,
        random_text=call.random_text,
    )
    return Answer(Secret(secret), repeated=Secret(None))


def messages(call: Call) -> Answer:
    after, state = call.after, call.query.get("state")
    if after is not None and not (after.isascii() and after.isdecimal() and int(after[:20]) <= BIGINT_MAX):
        raise rejection(INVALID_QUERY, "`after` is not a cursor: take `next` of a page")
    if state is not None and state not in STATES:
        raise rejection(INVALID_QUERY, f"a state is one of {', '.join(STATES)}")
    page = list_messages(
        call.connection,
        call.tenant_id,
        limit=PAGE_ROWS,
        before=None if after is None else int(after),
        endpoint_id=call.query.get("endpoint"),
        state=state,
    )
    return Answer(as_mappings(page))


def send_again(call: Call) -> Answer:
    return Answer(Saved(redeliver(call.connection, call.actor, call.tenant_id, call.id)))


def _limits(call: Call) -> Limits:
    own = call.topology.webhooks
    return Limits(own.endpoints_max, networks(own.development_networks))


PATH = "/v1/webhooks/{id}"
# The ETag is of these columns. A failed call changes others, so it does not reject a tenant's change; that an
# endpoint was disabled meanwhile does.
WRITTEN = ("url", "kinds", "description", "state")
FILTERS = {"state": "only messages in this state", "endpoint": "only messages to this endpoint"}
OPERATIONS = (
    Operation(
        *("listWebhooks", "GET", "/v1/webhooks", "read", "List webhook endpoints", listed),
        answer=Page[Endpoint],
        id_at="/items/0/endpoint_id",
        query=AFTER,
    ),
    Operation(
        *("createWebhook", "POST", "/v1/webhooks", "manage", "Create a webhook endpoint", create),
        answer=MadeEndpoint,
        id_at="/endpoint/endpoint_id",
        body=EndpointDraft,
        status=201,
    ),
    Operation(
        *("readWebhook", "GET", PATH, "read", "Read a webhook endpoint", read),
        answer=Endpoint,
        etag_of=WRITTEN,
    ),
    Operation(
        *("changeWebhook", "PUT", PATH, "manage", "Change, enable or disable an endpoint", change),
        answer=Endpoint,
        body=EndpointChange,
        conditional=True,
    ),
    Operation(*("deleteWebhook", "DELETE", PATH, "manage", "Delete a webhook endpoint", delete), status=204),
    Operation(
        *("rotateWebhookSecret", "POST", f"{PATH}/rotate", "manage", "Replace the signing secret", rotate),
        answer=Secret,
        body=Rotate,
    ),
    Operation(
        *("listWebhookMessages", "GET", "/v1/webhook-messages", "read", "List webhook messages", messages),
        answer=Page[Message],
        id_at="/items/0/message_id",
        query=AFTER | FILTERS,
    ),
    Operation(
        "redeliverWebhookMessage",
        *("POST", "/v1/webhook-messages/{id}/redeliver", "manage", "Send a message again", send_again),
        answer=Saved,
    ),
)
