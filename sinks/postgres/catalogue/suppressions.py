"""Suppressions: contacts of a tenant that receive no message, on request of the contact or of the tenant."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, cast

from schemas.ids import contact_id as contact_id_of
from schemas.ids import email_id
from schemas.phones import Rejected, read
from sinks.postgres.catalogue.rejections import Rejection, UnknownTenant
from sinks.postgres.catalogue.tenants import tenant_exists
from sinks.postgres.connect import Connection
from sinks.postgres.named_rows import fetch
from sinks.postgres.page import Page, page_of
from sinks.postgres.queries import load_queries

QUERIES = load_queries(Path(__file__).with_name("suppressions.sql"))


class SuppressionRejected(Rejection):
    """The suppression cannot be saved. Shows no phone."""


class Suppression(NamedTuple):
    """`phone` is E.164, None where no completion of the contact came with one."""

    contact_id: str
    phone: str | None
    reason: str
    created_at: datetime


def suppress(connection: Connection, tenant_id: str, contacts: Sequence[str], reason: str) -> int:
    """Nothing is sent to the contacts from now on; returns for how many it was not so before."""
    given = {"tenant": tenant_id, "contacts": list(contacts), "reason": reason}
    row = connection.execute(QUERIES["count_suppressed"], given).fetchone()
    before = 0 if row is None else cast(int, row[0])
    connection.execute(QUERIES["suppress"], given)
    return len(set(contacts)) - before


def unsuppress(connection: Connection, tenant_id: str, contact: str, reason: str = "") -> bool:
    """The person may be written to again; deliveries that are suppressed already stay so."""
    given = {"tenant": tenant_id, "contact": contact, "reason": reason}
    return connection.execute(QUERIES["unsuppress"], given).rowcount > 0


def list_suppressions(
    connection: Connection, tenant_id: str, *, limit: int, after: str | None = None
) -> Page[Suppression]:
    """Of one tenant, by contact; `after` is the cursor of the page before."""
    parameters = {"tenant": tenant_id, "after": after or "", "limit": limit + 1}
    found = fetch(connection, QUERIES["list_suppressions"], Suppression, parameters)
    return page_of(found, limit, lambda one: one.contact_id)


def contact_of_phone(key: bytes, tenant_id: str, written: str) -> str | Rejected:
    """The contact id of a phone as a person wrote it, or why it is not a phone.

    Of an e-mail address the alias of the address: an opt-out under it holds for everybody who states it.
    """
    if "@" in written:
        return email_id(key, tenant_id, written)
    phone = read(written)
    return phone if isinstance(phone, Rejected) else contact_id_of(key, tenant_id, phone.e164)


def require_key(connection: Connection, key: bytes, tenant_id: str) -> None:
    """Raises `UnknownTenant`, and `SuppressionRejected` where `key` is not the one that made the contacts.

    With another key every id would be another, and the suppression would stop nothing. A tenant without a
    contact proves nothing.
    """
    if not tenant_exists(connection, tenant_id):
        raise UnknownTenant(tenant_id)
    row = connection.execute(QUERIES["some_contact"], [tenant_id]).fetchone()
    if row is None:
        return
    known_id, phone = cast(tuple[str, str], row)
    if contact_id_of(key, tenant_id, phone) != known_id:
        raise SuppressionRejected(
            tenant_id,
            ["QUIZSTREAM_CONTACT_KEY is not the key of this deployment: the phone would be another contact"],
        )
