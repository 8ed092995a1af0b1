"""Sender numbers of the tenant. The operator sets them up: their secrets are in the senders' environment."""

from __future__ import annotations

from ingest_api.tenants.api.operation import AFTER, PAGE_ROWS, Answer, Call, Operation, unknown
from ingest_api.tenants.resources.campaigns import Reason, end_pause
from sinks.delivery.stop_switch import pause_by_tenant, scope_of
from sinks.postgres.catalogue.numbers import Number, NumberDraft, list_numbers, number_of_tenant
from sinks.postgres.catalogue.operations import add_number
from sinks.postgres.page import Page, as_mappings


def listed(call: Call) -> Answer:
    page = list_numbers(call.connection, limit=PAGE_ROWS, after=call.after, tenant_id=call.tenant_id)
    return Answer(as_mappings(page))


def save(call: Call) -> Answer:
    """Only for the platform: address and name of the secret decide where another tenant's secret would go."""
    draft: NumberDraft = call.body
    if (draft.number_id, draft.tenant_id) != (call.id, call.tenant_id):
        raise unknown("number")
    add_number(call.connection, call.actor, draft)
    return Answer(draft)


def pause(call: Call) -> Answer:
    _require(call)
    pause_by_tenant(call.connection, scope_of("number", call.id), call.body.reason, call.actor)
    return Answer(None, 204)


def resume(call: Call) -> Answer:
    _require(call)
    end_pause(call, scope_of("number", call.id))
    return Answer(None, 204)


def _require(call: Call) -> None:
    if not number_of_tenant(call.connection, call.id, call.tenant_id):
        raise unknown("number")


PATH = "/v1/numbers/{id}"
OPERATIONS = (
    Operation(
        *("listNumbers", "GET", "/v1/numbers", "read", "List sender numbers", listed),
        answer=Page[Number],
        id_at="/items/0/number_id",
        query=AFTER,
    ),
    Operation(
        *("saveNumber", "PUT", PATH, "platform", "Set up a sender number", save),
        answer=NumberDraft,
        body=NumberDraft,
    ),
    Operation(
        *("pauseNumber", "POST", f"{PATH}/pause", "manage", "Send nothing from a number", pause),
        body=Reason,
        status=204,
    ),
    Operation(
        *("resumeNumber", "POST", f"{PATH}/resume", "manage", "Send from it again", resume), status=204
    ),
)
