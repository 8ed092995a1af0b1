"""Tenants, for the platform; and the audit log of a tenant."""

from __future__ import annotations

import msgspec

from ingest_api.http.problems import rejection
from ingest_api.tenants.api.operation import AFTER, PAGE_ROWS, Answer, Call, Operation
from ingest_api.tenants.api.problems import INVALID_QUERY
from schemas.quiz_page import Language
from sinks.postgres.audit_log import Entry, entries
from sinks.postgres.catalogue.operations import add_tenant
from sinks.postgres.catalogue.tenants import Tenant, list_tenants
from sinks.postgres.page import Page, as_mappings

BIGINT_MAX = 2**63 - 1


class TenantContent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`language`: of pages of its quizzes; without it the stored one, or the default."""

    name: str
    language: Language | None = None


class Saved(msgspec.Struct, frozen=True):
    """Whether anything changed."""

    changed: bool


def listed(call: Call) -> Answer:
    return Answer(as_mappings(list_tenants(call.connection, limit=PAGE_ROWS, after=call.after)))


def save(call: Call) -> Answer:
    content: TenantContent = call.body
    return Answer(Saved(add_tenant(call.connection, call.actor, call.id, content.name, content.language)))


def audit_log(call: Call) -> Answer:
    after = call.after
    if after is not None and not (after.isascii() and after.isdecimal() and int(after[:20]) <= BIGINT_MAX):
        raise rejection(INVALID_QUERY, "`after` is not a cursor: take `next` of a page")
    before = None if after is None else int(after)
    page = entries(call.connection, limit=PAGE_ROWS, before=before, subject=call.query.get("subject"))
    return Answer(as_mappings(page))


OPERATIONS = (
    Operation(
        *("listTenants", "GET", "/v1/tenants", "platform", "List tenants", listed),
        answer=Page[Tenant],
        id_at="/items/0/tenant_id",
        query=AFTER,
        of_platform=True,
    ),
    Operation(
        *("saveTenant", "PUT", "/v1/tenants/{id}", "platform", "Create or rename a tenant", save),
        answer=Saved,
        body=TenantContent,
        tenant_in_path=True,
    ),
    Operation(
        *("listAuditLog", "GET", "/v1/audit-log", "manage", "List who changed what", audit_log),
        answer=Page[Entry],
        query=AFTER | {"subject": "only entries about the object with this id"},
    ),
)
