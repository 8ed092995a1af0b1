"""Tenants: whose quizzes, campaigns and numbers they are."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, cast

import msgspec

from schemas import tenant_limits
from schemas.codec import codec
from schemas.quiz_page import Language
from schemas.records import Tenant as TenantEvent
from sinks.postgres.catalogue.quizzes import BAD_ID, ID
from sinks.postgres.catalogue.rejections import Rejection, UnknownTenant
from sinks.postgres.connect import Connection
from sinks.postgres.named_rows import fetch
from sinks.postgres.outbox import enqueue
from sinks.postgres.page import Page, page_of
from sinks.postgres.queries import load_queries

QUERIES = load_queries(Path(__file__).with_name("catalogue.sql"))
NAME_CHARS_MAX = 200
TENANTS_ROLE = "tenants"


class TenantRejected(Rejection):
    """The tenant cannot be saved."""


class Tenant(NamedTuple):
    """`limits`: rate limits of its own, by name."""

    tenant_id: str
    name: str
    created_at: datetime
    limits: dict[str, int]


def save_tenant(connection: Connection, tenant_id: str, name: str, language: Language | None = None) -> bool:
    """Makes or renames a tenant; returns whether anything changed. Raises `TenantRejected`.

    `language`: of pages of its quizzes; None leaves it as it is.
    """
    problems = []
    if not ID.fullmatch(tenant_id):
        problems.append(BAD_ID)
    if not 0 < len(name.strip()) <= NAME_CHARS_MAX:
        problems.append(f"its name must have 1 to {NAME_CHARS_MAX} characters")
    if problems:
        raise TenantRejected(tenant_id, problems)
    parameters = {"tenant": tenant_id, "name": name, "language": language}
    return connection.execute(QUERIES["save_tenant"], parameters).rowcount == 1


def save_limits(
    connection: Connection, tenant_id: str, changes: Mapping[str, int | None]
) -> tuple[dict[str, int], bool]:
    """Change rate limits of a tenant; None ends its own. Return all that it has, and whether any changed.

    Every edge applies them when the event is there. Raises `UnknownTenant`, and `TenantRejected` for a limit
    that does not exist or is out of bounds.
    """
    given = {name: 1 if limit is None else limit for name, limit in changes.items()}
    problems = list(tenant_limits.problems(given))
    if problems:
        raise TenantRejected(tenant_id, problems)
    with connection.transaction():
        row = connection.execute(QUERIES["lock_tenant"], [tenant_id]).fetchone()
        if row is None:
            raise UnknownTenant(tenant_id)
        version, before = cast(tuple[int, dict[str, int]], row)
        after = {name: limit for name, limit in {**before, **changes}.items() if limit is not None}
        if after == before:
            return before, False
        tenant = TenantEvent(tenant_id, version + 1, after)
        connection.execute(
            QUERIES["update_limits"],
            {"tenant": tenant_id, "version": tenant.version, "limits": msgspec.json.encode(after).decode()},
        )
        enqueue(connection, TENANTS_ROLE, tenant_id.encode(), codec("tenant").encode(tenant))
    return after, True


def get_limits(connection: Connection, tenant_id: str) -> dict[str, int]:
    """Return the rate limits that a tenant has of its own. Raises `UnknownTenant`."""
    row = connection.execute(QUERIES["get_limits"], [tenant_id]).fetchone()
    if row is None:
        raise UnknownTenant(tenant_id)
    return cast(dict[str, int], row[0])


def tenant_exists(connection: Connection, tenant_id: str) -> bool:
    return connection.execute(QUERIES["tenant_exists"], [tenant_id]).fetchone() is not None


def list_tenants(connection: Connection, *, limit: int, after: str | None = None) -> Page[Tenant]:
    """By id; `after` is the cursor of the page before."""
    found = fetch(connection, QUERIES["list_tenants"], Tenant, {"after": after or "", "limit": limit + 1})
    return page_of(found, limit, lambda tenant: tenant.tenant_id)
