"""The ids of a person: which contact a provider's id leads to, and which ids are one person's.

Ids are kept as keyed hashes. That of a phone is the contact id of the phone, so that most people need no row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from schemas.ids import alias_id, contact_id
from schemas.phones import canonical_of_provider_id
from sinks.postgres import metrics
from sinks.postgres.connect import Connection
from sinks.postgres.named_rows import fetch
from sinks.postgres.queries import load_queries

QUERIES = load_queries(Path(__file__).with_name("aliases.sql"))
ID_CHARS_MAX = 128  # of a provider's id of a person; a longer one is no id


class Person(NamedTuple):
    """One id of a person in one tenant, hashed. `is_phone`: it is the contact id of a phone."""

    tenant_id: str
    person: str
    is_phone: bool


class Resolved(NamedTuple):
    tenant_id: str
    person: str
    contact_id: str


def people_of(key: bytes, tenants: Iterable[str], ids: Sequence[str]) -> list[Person]:
    """The ids of one person, hashed for each tenant; what cannot be an id is left out."""
    people: dict[Person, None] = {}
    for told in ids:
        if not 0 < len(told) <= ID_CHARS_MAX:
            continue
        phone = canonical_of_provider_id(told)
        for tenant_id in tenants:
            hashed = alias_id(key, tenant_id, told) if phone is None else contact_id(key, tenant_id, phone)
            people[Person(tenant_id, hashed, phone is not None)] = None
    return list(people)


def resolve(connection: Connection, people: Iterable[tuple[str, str]]) -> Mapping[tuple[str, str], str]:
    """(tenant, hashed id) -> contact id, for those that are known."""
    wanted = sorted(set(people))
    if not wanted:
        return {}
    found = fetch(
        connection,
        QUERIES["resolve"],
        Resolved,
        {"tenants": [tenant for tenant, _ in wanted], "people": [person for _, person in wanted]},
    )
    return {(row.tenant_id, row.person): row.contact_id for row in found}


def unite(connection: Connection, tenant_id: str, people: Iterable[Person], source: str) -> str | None:
    """All of `people` are one person: afterwards each of them leads to the contact that is returned.

    None where none of them is a contact. Contacts that were two are one from now on. Commits nothing.
    """
    mine = {one.person: one.is_phone for one in people if one.tenant_id == tenant_id}
    plan = _plan(connection, tenant_id, mine)
    if plan is None or not plan.aliases:
        return None if plan is None else plan.contact_id
    connection.execute(QUERIES["learn_alone"])
    plan = _plan(connection, tenant_id, mine)  # what another process learned meanwhile counts
    if plan is None or not plan.aliases:
        return None if plan is None else plan.contact_id
    given = {"tenant": tenant_id, "contact": plan.contact_id, "others": plan.others}
    connection.execute(QUERIES["redirect"], given)
    learned = {
        "aliases": list(plan.aliases),
        "are_contacts": list(plan.aliases.values()),
        "source": source,
    }
    connection.execute(QUERIES["learn"], given | learned)
    metrics.ALIASES_LEARNED.labels(source).inc(len(plan.aliases))
    metrics.CONTACTS_UNITED.inc(len(plan.others))
    return plan.contact_id


class _Plan(NamedTuple):
    contact_id: str
    others: list[str]
    aliases: dict[str, bool]


def _plan(connection: Connection, tenant_id: str, mine: Mapping[str, bool]) -> _Plan | None:
    """What has to be learned: `mine` is hashed id -> whether it is the contact id of a phone."""
    known = resolve(connection, ((tenant_id, person) for person in mine))
    led_to = {
        person: known.get((tenant_id, person), person)
        for person, is_phone in mine.items()
        if is_phone or (tenant_id, person) in known
    }
    if not led_to:
        return None
    contacts = set(led_to.values())
    contact = min(contacts)
    aliases = {person: is_phone for person, is_phone in mine.items() if led_to.get(person) != contact}
    aliases.update(dict.fromkeys(contacts, True))
    aliases.pop(contact, None)
    return _Plan(contact, sorted(contacts - {contact}), aliases)
