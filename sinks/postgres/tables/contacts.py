"""The table `contacts`, the only one with personal data; every sink that reads such data updates it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from schemas.records import Personal
from sinks.postgres.connect import Connection
from sinks.postgres.copy import copy_rows
from sinks.postgres.queries import load_queries

QUERIES = load_queries(Path(__file__).with_name("contacts.sql"))
_TYPES = ["text", "text", "text", "text", "text", "int8"]


class Sighting(msgspec.Struct, frozen=True):
    """A completion's data of its contact; `seen_at`: its time of acceptance, ms since the epoch."""

    tenant_id: str
    contact_id: str
    personal: Personal
    seen_at: int


def prepare(connection: Connection) -> None:
    """Create the batch's temporary table; once for each connection."""
    connection.execute(QUERIES["create_contacts_batch"])


def save(connection: Connection, sightings: Iterable[Sighting]) -> None:
    """Save the newest data of each contact, idempotently; of two of one millisecond the first. No commit."""
    newest: dict[tuple[str, str], Sighting] = {}
    for sighting in sightings:
        if sighting.personal == _NOBODY:
            continue
        key = (sighting.tenant_id, sighting.contact_id)
        known = newest.get(key)
        if known is None or known.seen_at < sighting.seen_at:
            newest[key] = sighting
    if not newest:
        return
    connection.execute(QUERIES["clear_contacts_batch"])
    rows = (
        (tenant_id, contact_id, s.personal.phone, s.personal.name, s.personal.email, s.seen_at)
        for (tenant_id, contact_id), s in newest.items()
    )
    copy_rows(connection, QUERIES["copy_contacts"], _TYPES, rows)
    connection.execute(QUERIES["merge_contacts"])


_NOBODY = Personal()
