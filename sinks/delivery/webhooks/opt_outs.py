"""Inbound messages to a sender number: STOP becomes a suppression, before the next send."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from schemas.phones import canonical_of_provider_id
from sinks.postgres.connect import Connection
from sinks.postgres.queries import load_queries
from sinks.webhook import OptOut

QUERIES = load_queries(Path(__file__).with_name("statuses.sql"))

ContactOf = Callable[[str, str], str]
"""(tenant id, phone in E.164) -> contact id."""


def suppress(connection: Connection, opt_outs: Iterable[tuple[str, OptOut]], contact_of: ContactOf) -> int:
    """`opt_outs` come with their provider. Returns how many contacts are newly suppressed. Commits nothing.

    The contact is the recipient of the message that is replied to, and everybody with this phone whom the
    number may write to. A number of one tenant suppresses for it even somebody whom it has not met yet.
    """
    found: dict[tuple[str, str], str] = {}
    for provider, opt_out in opt_outs:
        for contact in _contacts(connection, provider, opt_out, contact_of):
            found.setdefault(contact, opt_out.reason)
    new = 0
    for (tenant_id, contact_id), reason in sorted(found.items()):
        new += connection.execute(QUERIES["suppress"], [tenant_id, contact_id, reason]).rowcount
    return new


def _contacts(
    connection: Connection, provider: str, opt_out: OptOut, contact_of: ContactOf
) -> list[tuple[str, str]]:
    contacts: list[tuple[object, ...]] = []
    if opt_out.reply_to is not None:
        contacts += connection.execute(QUERIES["recipient_of_message"], [provider, opt_out.reply_to])
    phone = canonical_of_provider_id(opt_out.wa_id)
    if phone is not None:
        rows = connection.execute(QUERIES["tenants_of_number"], [provider, opt_out.number_id])
        tenants = [str(tenant_id) for (tenant_id,) in rows]
        candidates = [contact_of(tenant_id, phone) for tenant_id in tenants]
        if len(tenants) == 1:
            contacts.append((tenants[0], candidates[0]))
        else:
            contacts += connection.execute(QUERIES["known_contacts"], [tenants, candidates])
    return [(str(tenant_id), str(contact_id)) for tenant_id, contact_id in contacts]
