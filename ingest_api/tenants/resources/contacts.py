"""Contacts of the tenant: who completed a quiz with a phone number."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from ingest_api.http.problems import rejection
from ingest_api.tenants.api.operation import AFTER, PAGE_ROWS, Answer, Call, Operation, unknown
from ingest_api.tenants.api.problems import INVALID_QUERY
from schemas.phones import Rejected
from sinks.postgres.catalogue.suppressions import contact_of_phone
from sinks.postgres.named_rows import fetch
from sinks.postgres.page import Page, as_mappings, page_of
from sinks.postgres.queries import load_queries

QUERIES = load_queries(Path(__file__).with_name("contacts.sql"))


class Contact(NamedTuple):
    """Personal data, which only its tenant reads."""

    contact_id: str
    phone: str | None
    name: str | None
    email: str | None
    seen_at: datetime
    suppressed: bool


def listed(call: Call) -> Answer:
    contact_id = None
    if "phone" in call.query:
        found = contact_of_phone(call.contact_key, call.tenant_id, call.query["phone"])
        if isinstance(found, Rejected):
            raise rejection(INVALID_QUERY, "`phone` is not a phone number")
        contact_id = found
    contacts = _rows(call, contact_id)
    return Answer(as_mappings(page_of(contacts, PAGE_ROWS, lambda one: one.contact_id)))


def read(call: Call) -> Answer:
    found = _rows(call, call.id)
    if not found:
        raise unknown("contact")
    return Answer(found[0]._asdict())


def _rows(call: Call, contact_id: str | None) -> list[Contact]:
    parameters = {
        "tenant": call.tenant_id,
        "after": call.after or "",
        "contact": contact_id,
        "limit": PAGE_ROWS + 1,
    }
    return fetch(call.connection, QUERIES["list_contacts"], Contact, parameters)


OPERATIONS = (
    Operation(
        *("listContacts", "GET", "/v1/contacts", "read", "List contacts, or find one by phone", listed),
        answer=Page[Contact],
        id_at="/items/0/contact_id",
        query=AFTER | {"phone": "the contact with this phone number alone"},
    ),
    Operation(
        *("readContact", "GET", "/v1/contacts/{id}", "read", "Read a contact", read),
        answer=Contact,
    ),
)
