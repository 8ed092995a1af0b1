"""API keys of the tenant, and the revocation of signed tokens."""

from __future__ import annotations

import msgspec

from ingest_api.http.problems import rejection
from ingest_api.tenants.access.roles import permissions_of
from ingest_api.tenants.api.operation import AFTER, PAGE_ROWS, Answer, Call, Operation
from ingest_api.tenants.api.problems import FORBIDDEN, REJECTED
from sinks.postgres.catalogue.api_keys import (
    Key,
    KeyDraft,
    NewKey,
    find_key,
    list_keys,
    make_key,
    revoke_key,
    revoke_signed,
    rotate_key,
)
from sinks.postgres.page import Page, as_mappings

OVERLAP_S_MAX = 30 * 86_400
TOKEN_ID_CHARS_MAX = 200


class Rotate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`overlap_s`: for so long both keys are in force."""

    overlap_s: int = 86_400


class RevokeSigned(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`token_id`: the `jti` of the signed token."""

    token_id: str


class MadeKey(msgspec.Struct, frozen=True):
    """`secret` is shown once: null in the answer to a repetition, which shows only that the key was made."""

    key_id: str
    secret: str | None


class Revoked(msgspec.Struct, frozen=True):
    """Whether it was in force."""

    changed: bool


def create(call: Call) -> Answer:
    """A key never may more than the caller who makes it."""
    draft: KeyDraft = call.body
    if not permissions_of(draft.role, draft.scopes) <= call.principal.permissions:
        raise rejection(FORBIDDEN, "the key would be allowed more than the token that makes it")
    made = make_key(call.connection, call.actor, call.tenant_id, draft, call.now_ms, call.random_text)
    return _shown_once(made)


def rotate(call: Call) -> Answer:
    """Its successor may what it may: so a caller who may less cannot make one."""
    old = find_key(call.connection, call.tenant_id, call.id)
    if not permissions_of(old.role, old.scopes) <= call.principal.permissions:
        raise rejection(FORBIDDEN, "the key may do more than the token that rotates it")
    if not 0 <= call.body.overlap_s <= OVERLAP_S_MAX:
        raise rejection(REJECTED, f"overlap_s must lie between 0 and {OVERLAP_S_MAX}")
    made = rotate_key(
        call.connection,
        call.actor,
        call.tenant_id,
        call.id,
        overlap_ms=call.body.overlap_s * 1000,
        now_ms=call.now_ms,
        random_text=call.random_text,
    )
    return _shown_once(made)


def _shown_once(made: NewKey) -> Answer:
    """A stored answer would be a secret at rest."""
    return Answer(MadeKey(made.key_id, made.secret), 201, repeated=MadeKey(made.key_id, None))


def revoke(call: Call) -> Answer:
    return Answer(Revoked(revoke_key(call.connection, call.actor, call.tenant_id, call.id)))


def listed(call: Call) -> Answer:
    page = list_keys(call.connection, call.tenant_id, limit=PAGE_ROWS, after=call.after)
    return Answer(as_mappings(page))


def revoke_token(call: Call) -> Answer:
    """Of the transaction's tenant, which is that of all tenants for a token of the platform."""
    if not 0 < len(call.body.token_id) <= TOKEN_ID_CHARS_MAX:
        raise rejection(REJECTED, f"token_id must have 1 to {TOKEN_ID_CHARS_MAX} characters")
    changed = revoke_signed(call.connection, call.actor, call.tenant_id, call.body.token_id)
    return Answer(Revoked(changed))


PATH = "/v1/api-keys/{id}"
OPERATIONS = (
    Operation(
        *("listApiKeys", "GET", "/v1/api-keys", "manage", "List API keys, without their secrets", listed),
        answer=Page[Key],
        id_at="/items/0/key_id",
        query=AFTER,
    ),
    Operation(
        *("createApiKey", "POST", "/v1/api-keys", "manage", "Create an API key", create),
        answer=MadeKey,
        id_at="/key_id",
        body=KeyDraft,
        status=201,
    ),
    Operation(
        *("rotateApiKey", "POST", f"{PATH}/rotate", "manage", "Replace an API key by a new one", rotate),
        answer=MadeKey,
        id_at="/key_id",
        body=Rotate,
        status=201,
    ),
    Operation(
        *("revokeApiKey", "POST", f"{PATH}/revoke", "manage", "Revoke an API key", revoke), answer=Revoked
    ),
    Operation(
        *("revokeToken", "POST", "/v1/tokens/revoke", "manage", "Revoke a signed token", revoke_token),
        answer=Revoked,
        body=RevokeSigned,
    ),
    Operation(
        "revokePlatformToken",
        *("POST", "/v1/platform-tokens/revoke", "platform", "Revoke a platform's signed token", revoke_token),
        answer=Revoked,
        body=RevokeSigned,
        of_platform=True,
    ),
)
