"""The table `contacts`, with phone, name and e-mail; every sink that reads such data updates it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from schemas.records import Personal
from sinks.postgres.connect import Connection
from sinks.postgres.copy import copy_rows
from sinks.postgres.queries import load_queries

QUERIES = load_queries(Path(__file__).with_name("contacts.sql"))
_TYPES = [*["text"] * 5, *["int8"] * 3]


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
    """Save what each contact stated last, field by field, idempotently; of two of one millisecond the first.

    A completion without a name states nothing about the name. Pass a completion that is new, not its repeats:
    a repeat has a later time of acceptance and an older content. No commit.
    """
    newest: dict[tuple[str, str], _Newest] = {}
    for sighting in sightings:
        if sighting.personal != _NOBODY:
            newest.setdefault((sighting.tenant_id, sighting.contact_id), _Newest()).take(sighting)
    if not newest:
        return
    connection.execute(QUERIES["clear_contacts_batch"])
    rows = (
        (tenant_id, contact_id, n.phone, n.name, n.email, n.seen_at, n.name_at, n.email_at)
        for (tenant_id, contact_id), n in newest.items()
    )
    copy_rows(connection, QUERIES["copy_contacts"], _TYPES, rows)
    connection.execute(QUERIES["merge_contacts"])


class _Newest:
    """Of one contact in one batch."""

    def __init__(self) -> None:
        self.phone: str | None = None
        self.name: str | None = None
        self.email: str | None = None
        self.seen_at = -1
        self.name_at = self.email_at = -1

    def take(self, sighting: Sighting) -> None:
        personal, at = sighting.personal, sighting.seen_at
        self.phone = self.phone or personal.phone
        self.seen_at = max(self.seen_at, at)
        if personal.name is not None and self.name_at < at:
            self.name, self.name_at = personal.name, at
        if personal.email is not None and self.email_at < at:
            self.email, self.email_at = personal.email, at


_NOBODY = Personal()
