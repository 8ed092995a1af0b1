"""Contacts of the tenant that receive no message."""

from __future__ import annotations

from typing import Annotated

import msgspec

from ingest_api.http.problems import pointer, rejection
from ingest_api.tenants.api.operation import AFTER, PAGE_ROWS, Answer, Call, Operation, unknown
from ingest_api.tenants.api.problems import REJECTED
from ingest_api.tenants.resources.campaigns import ReasonText
from schemas.phones import Rejected
from sinks.postgres.catalogue.operations import add_suppressions, remove_suppression
from sinks.postgres.catalogue.suppressions import (
    Suppression,
    contact_of_phone,
    list_suppressions,
    require_key,
)
from sinks.postgres.page import Page, as_mappings

PHONES_MAX = 1_000  # of one request
ContactId = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class Suppress(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whom nothing may be sent to: contacts by phone, by contact id, or both. `reason`: no personal data."""

    reason: ReasonText
    phones: list[str] = []
    contact_ids: list[ContactId] = []


class Suppressed(msgspec.Struct, frozen=True):
    """How many of them were not suppressed before."""

    added: int


def add(call: Call) -> Answer:
    content: Suppress = call.body
    if not 0 < len(content.phones) + len(content.contact_ids) <= PHONES_MAX:
        raise rejection(REJECTED, f"name 1 to {PHONES_MAX} contacts in a request")
    contacts = list(content.contact_ids)
    if content.phones:
        require_key(call.connection, call.contact_key, call.tenant_id)
    for position, phone in enumerate(content.phones):
        contact = contact_of_phone(call.contact_key, call.tenant_id, phone)
        if isinstance(contact, Rejected):
            raise rejection(REJECTED, "it is not a phone number", pointer=pointer("phones", str(position)))
        contacts.append(contact)
    added = add_suppressions(call.connection, call.actor, call.tenant_id, contacts, content.reason)
    return Answer(Suppressed(added))


def lift(call: Call) -> Answer:
    if not remove_suppression(call.connection, call.actor, call.tenant_id, call.id, "by the tenant"):
        raise unknown("suppression")
    return Answer(None, 204)


def listed(call: Call) -> Answer:
    page = list_suppressions(call.connection, call.tenant_id, limit=PAGE_ROWS, after=call.after)
    return Answer(as_mappings(page))


OPERATIONS = (
    Operation(
        *("listSuppressions", "GET", "/v1/suppressions", "read", "List suppressed contacts", listed),
        answer=Page[Suppression],
        id_at="/items/0/contact_id",
        query=AFTER,
    ),
    Operation(
        *("addSuppressions", "POST", "/v1/suppressions", "write", "Suppress contacts", add),
        answer=Suppressed,
        body=Suppress,
    ),
    Operation(
        *("liftSuppression", "DELETE", "/v1/suppressions/{id}", "write", "Allow messages again", lift),
        status=204,
    ),
)
