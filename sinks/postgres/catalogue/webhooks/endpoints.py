"""Endpoints of a tenant that receive its events. Each change and its entry in the audit log are one
transaction; the tenant API and operators' commands call these functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, cast

import msgspec
from msgspec import UNSET, UnsetType

from sinks.postgres.audit_log import record_of
from sinks.postgres.catalogue.rejections import Rejection
from sinks.postgres.catalogue.webhooks import targets
from sinks.postgres.catalogue.webhooks.secrets import SALT_BYTES, secret_of
from sinks.postgres.connect import Connection
from sinks.postgres.named_rows import fetch
from sinks.postgres.page import Page, page_of
from sinks.postgres.queries import load_queries

QUERIES = load_queries(Path(__file__).with_name("endpoints.sql"))
# States of a delivery with which something has happened. A test compares them with those of the ledger.
KINDS = tuple(
    f"delivery.{state}"
    for state in ("sent", "delivered", "read", "failed", "suppressed", "cancelled", "ambiguous", "dead")
)
ID_BYTES = 9
DESCRIPTION_CHARS_MAX = 200
OVERLAP_S_MAX = 30 * 86_400
BY_TENANT = "by the tenant"

RandomText = Callable[[int], str]
"""As `secrets.token_urlsafe`."""


class EndpointRejected(Rejection):
    """The endpoint cannot be saved."""


class EndpointHeld(EndpointRejected):
    """An operator has paused it, and deleting it would end the pause: its tenant could make it anew."""

    def __init__(self, endpoint_id: str) -> None:
        super().__init__(endpoint_id, ["an operator has paused it"])


class UnknownEndpoint(Rejection):
    """There is no such endpoint."""

    def __init__(self, endpoint_id: str) -> None:
        super().__init__(endpoint_id, ["there is no such webhook endpoint"])


class EndpointDraft(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`kinds`: of events, such as `delivery.sent`; empty: all. One that is not enabled receives nothing."""

    url: str
    kinds: list[str] = []
    description: str = ""
    enabled: bool = True


class EndpointChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """As `EndpointDraft`. What it leaves out stays as it is."""

    url: str | UnsetType = UNSET
    kinds: list[str] | UnsetType = UNSET
    description: str | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET


class Endpoint(NamedTuple):
    """`state_reason`: why it is disabled. `held_reason`: why an operator has paused it, else empty.

    `given_up`: messages that failed because too many of the tenant waited; the last of them at `given_up_at`.
    """

    endpoint_id: str
    url: str
    kinds: list[str]
    description: str
    state: str
    state_reason: str
    held_reason: str
    failing_since: datetime | None
    previous_secret_until: datetime | None
    created_at: datetime
    given_up: int
    given_up_at: datetime | None


class Limits(NamedTuple):
    """`development`: networks to which webhooks may go instead of the internet; for development only."""

    endpoints_max: int
    development: Sequence[targets.Network] = ()


class NewEndpoint(NamedTuple):
    """`secret` is shown once."""

    endpoint: Endpoint
    secret: str


def make_endpoint(
    connection: Connection,
    actor: str,
    tenant_id: str,
    draft: EndpointDraft,
    limits: Limits,
    key: bytes,
    random_text: RandomText,
) -> NewEndpoint:
    """Make an endpoint, which receives events from now on. Raises `EndpointRejected`."""
    given = _given(tenant_id, draft, limits)
    endpoint_id, salt = f"whe_{random_text(ID_BYTES)}", random_text(SALT_BYTES).encode()
    with connection.transaction():
        connection.execute(QUERIES["lock_tenant_endpoints"], [tenant_id])
        row = connection.execute(QUERIES["count_endpoints"], [tenant_id]).fetchone()
        if row is not None and cast(int, row[0]) >= limits.endpoints_max:
            raise EndpointRejected(tenant_id, [f"it has {limits.endpoints_max} endpoints; delete one first"])
        _require_other_url(connection, given, endpoint_id)
        connection.execute(QUERIES["insert_endpoint"], given | {"endpoint": endpoint_id, "salt": salt})
        detail = {"kinds": given["kinds"], "enabled": draft.enabled}
        record_of(connection, tenant_id, actor, "webhook.create", endpoint_id, **detail)
        made = find_endpoint(connection, tenant_id, endpoint_id)
    return NewEndpoint(made, secret_of(key, endpoint_id, salt))


def change_endpoint(
    connection: Connection,
    actor: str,
    tenant_id: str,
    endpoint_id: str,
    change: EndpointChange,
    limits: Limits,
) -> Endpoint:
    """What `change` leaves out stays. Raises `EndpointRejected` and `UnknownEndpoint`."""
    with connection.transaction():
        before = lock_endpoint(connection, tenant_id, endpoint_id)
        draft = _changed(before, change)
        given = _given(tenant_id, draft, limits)
        if (before.state == "disabled") and not draft.enabled:
            given["state_reason"] = before.state_reason
        if draft.url != before.url:
            connection.execute(QUERIES["lock_tenant_endpoints"], [tenant_id])
            _require_other_url(connection, given, endpoint_id)
        connection.execute(QUERIES["change_endpoint"], given | {"endpoint": endpoint_id})
        after = find_endpoint(connection, tenant_id, endpoint_id)
        if after != before:
            detail = {"kinds": given["kinds"], "enabled": draft.enabled, "moved": after.url != before.url}
            record_of(connection, tenant_id, actor, "webhook.change", endpoint_id, **detail)
    return after


def delete_endpoint(connection: Connection, actor: str, tenant_id: str, endpoint_id: str) -> None:
    """Nothing is sent to it any more. Raises `UnknownEndpoint` and `EndpointHeld`."""
    with connection.transaction():
        if lock_endpoint(connection, tenant_id, endpoint_id).held_reason:
            raise EndpointHeld(endpoint_id)
        connection.execute(QUERIES["delete_endpoint"], {"tenant": tenant_id, "endpoint": endpoint_id})
        record_of(connection, tenant_id, actor, "webhook.delete", endpoint_id)


def rotate_secret(
    connection: Connection,
    actor: str,
    tenant_id: str,
    endpoint_id: str,
    *,
    overlap_s: int,
    key: bytes,
    random_text: RandomText,
) -> str:
    """Make another secret and return it; the one before signs too for `overlap_s`.

    Raises `UnknownEndpoint` and `EndpointRejected`.
    """
    if not 0 <= overlap_s <= OVERLAP_S_MAX:
        raise EndpointRejected(endpoint_id, [f"overlap_s must lie between 0 and {OVERLAP_S_MAX}"])
    salt = random_text(SALT_BYTES).encode()
    given = {"tenant": tenant_id, "endpoint": endpoint_id, "overlap_s": overlap_s, "salt": salt}
    with connection.transaction():
        if connection.execute(QUERIES["rotate_secret"], given).rowcount == 0:
            raise UnknownEndpoint(endpoint_id)
        record_of(connection, tenant_id, actor, "webhook.rotate-secret", endpoint_id, overlap_s=overlap_s)
    return secret_of(key, endpoint_id, salt)


def hold_endpoint(connection: Connection, actor: str, endpoint_id: str, reason: str) -> bool:
    """An operator's pause: messages wait. An empty `reason` ends it. Return whether it changed.

    Raises `UnknownEndpoint`.
    """
    with connection.transaction():
        row = connection.execute(QUERIES["tenant_of_endpoint"], [endpoint_id]).fetchone()
        if row is None:
            raise UnknownEndpoint(endpoint_id)
        given = {"endpoint": endpoint_id, "reason": reason}
        changed = connection.execute(QUERIES["hold_endpoint"], given).rowcount == 1
        if changed:
            detail = {"reason": reason} if reason else {}
            action = "webhook.pause" if reason else "webhook.release"
            record_of(connection, cast(str, row[0]), actor, action, endpoint_id, **detail)
    return changed


def find_endpoint(connection: Connection, tenant_id: str, endpoint_id: str) -> Endpoint:
    """Raises `UnknownEndpoint`."""
    return _one(connection, "find_endpoint", tenant_id, endpoint_id)


def lock_endpoint(connection: Connection, tenant_id: str, endpoint_id: str) -> Endpoint:
    """Until the end of the transaction. Raises `UnknownEndpoint`."""
    return _one(connection, "lock_endpoint", tenant_id, endpoint_id)


def list_endpoints(
    connection: Connection, tenant_id: str, *, limit: int, after: str | None = None
) -> Page[Endpoint]:
    """By id; `after` is the cursor of the page before."""
    given = {"tenant": tenant_id, "after": after or "", "limit": limit + 1}
    found = fetch(connection, QUERIES["list_endpoints"], Endpoint, given)
    return page_of(found, limit, lambda one: one.endpoint_id)


def _one(connection: Connection, query: str, tenant_id: str, endpoint_id: str) -> Endpoint:
    given = {"tenant": tenant_id, "endpoint": endpoint_id}
    found = fetch(connection, QUERIES[query], Endpoint, given)
    if not found:
        raise UnknownEndpoint(endpoint_id)
    return found[0]


def _changed(before: Endpoint, change: EndpointChange) -> EndpointDraft:
    return EndpointDraft(
        before.url if change.url is UNSET else change.url,
        before.kinds if change.kinds is UNSET else change.kinds,
        before.description if change.description is UNSET else change.description,
        before.state == "active" if change.enabled is UNSET else change.enabled,
    )


def _require_other_url(connection: Connection, given: Mapping[str, object], endpoint_id: str) -> None:
    """Two endpoints of one URL would receive each event twice, under two ids. With the tenant's lock."""
    same = connection.execute(QUERIES["endpoint_of_url"], {**given, "endpoint": endpoint_id}).fetchone()
    if same is not None:
        raise EndpointRejected(str(given["tenant"]), [f"its endpoint {same[0]} has this URL already"])


def _given(tenant_id: str, draft: EndpointDraft, limits: Limits) -> dict[str, object]:
    problems = []
    if (found := targets.problem(draft.url, limits.development)) is not None:
        problems.append(found)
    unknown = sorted({*draft.kinds} - {*KINDS})
    if unknown:
        problems.append(f"its kinds must be of {', '.join(KINDS)}")
    if len(draft.description) > DESCRIPTION_CHARS_MAX or "\x00" in draft.description:
        problems.append(f"its description must have at most {DESCRIPTION_CHARS_MAX} characters")
    if problems:
        raise EndpointRejected(tenant_id, problems)
    return {
        "tenant": tenant_id,
        "url": draft.url,
        "kinds": [kind for kind in KINDS if kind in draft.kinds or not draft.kinds],
        "description": draft.description,
        "state": "active" if draft.enabled else "disabled",
        "state_reason": "" if draft.enabled else BY_TENANT,
    }
