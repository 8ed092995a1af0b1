"""The audit log: one row for each action of an operator, written in the transaction of its change."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from pipeline.errors import OperatorError
from schemas.phones import Phone, read
from sinks.postgres.connect import Connection
from sinks.postgres.named_rows import fetch
from sinks.postgres.page import Page, page_of
from sinks.postgres.queries import load_queries

QUERIES = load_queries(Path(__file__).with_name("audit_log.sql"))
DELETE_BATCH_MAX = 10_000
ACTOR_CHARS_MAX = 128


_ADDRESS = re.compile(r"\S@\S")
_MAYBE_PHONE = re.compile(r"\+?\d[\d ().-]{6,}\d")


class PersonalReason(OperatorError):
    """A reason that names a person; nothing was changed."""


class Entry(NamedTuple):
    """`action` is an object and a verb, such as `number.hold`; `subject` the id of the object."""

    audit_id: int
    at: datetime
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]


def record(connection: Connection, actor: str, action: str, subject: str, **detail: object) -> None:
    """Call it in the transaction of the change. `detail` must not hold personal data: no phone, no name.

    - The tenant who sees the entry is `detail`'s `tenant`, or that of the transaction.
    - Raises `PersonalReason` where its `reason` has a phone number or an e-mail address in it.
    """
    tenant = detail.get("tenant")
    record_of(connection, None if tenant is None else str(tenant), actor, action, subject, **detail)


def record_of(
    connection: Connection, tenant_id: str | None, actor: str, action: str, subject: str, /, **detail: object
) -> None:
    """The same, for an action on an object of `tenant_id`, who sees the entry."""
    if _names_a_person(str(detail.get("reason", ""))):
        raise PersonalReason(f"{action}: its reason must not hold a phone number or an e-mail address")
    told = msgspec.json.encode(detail).decode()
    connection.execute(QUERIES["record"], [actor[:ACTOR_CHARS_MAX], action, subject, told, tenant_id])


def entries(
    connection: Connection, *, limit: int, before: int | None = None, subject: str | None = None
) -> Page[Entry]:
    """The newest first; `before` is the cursor of the page before."""
    parameters = {"before": before, "subject": subject, "limit": limit + 1}
    found = fetch(connection, QUERIES["newest_first"], Entry, parameters)
    return page_of(found, limit, lambda entry: str(entry.audit_id))


def delete_old(connection: Connection, days: int) -> int:
    """Deletes what is older than `days`, at most DELETE_BATCH_MAX rows; returns how many."""
    return connection.execute(QUERIES["delete_old"], {"days": days, "limit": DELETE_BATCH_MAX}).rowcount


def _names_a_person(text: str) -> bool:
    phones = (read(found[0]) for found in _MAYBE_PHONE.finditer(text))
    return _ADDRESS.search(text) is not None or any(isinstance(phone, Phone) for phone in phones)
