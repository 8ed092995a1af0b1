"""Tenants: whose quizzes, campaigns and numbers they are."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from schemas.quiz_page import Language
from sinks.postgres.catalogue.quizzes import BAD_ID, ID
from sinks.postgres.catalogue.rejections import Rejection
from sinks.postgres.connect import Connection
from sinks.postgres.named_rows import fetch
from sinks.postgres.page import Page, page_of
from sinks.postgres.queries import load_queries

QUERIES = load_queries(Path(__file__).with_name("catalogue.sql"))
EVERY_TENANT = "*"  # in the place of a tenant's id: of a number or a token that serves all
NAME_CHARS_MAX = 200


class TenantRejected(Rejection):
    """The tenant cannot be saved."""


class Tenant(NamedTuple):
    tenant_id: str
    name: str
    created_at: datetime


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


def tenant_exists(connection: Connection, tenant_id: str) -> bool:
    return connection.execute(QUERIES["tenant_exists"], [tenant_id]).fetchone() is not None


def list_tenants(connection: Connection, *, limit: int, after: str | None = None) -> Page[Tenant]:
    """By id; `after` is the cursor of the page before."""
    found = fetch(connection, QUERIES["list_tenants"], Tenant, {"after": after or "", "limit": limit + 1})
    return page_of(found, limit, lambda tenant: tenant.tenant_id)
