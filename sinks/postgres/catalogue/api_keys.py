"""API keys of a tenant, and revocations of signed tokens. Stored and published are hashes alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from schemas.codec import codec
from schemas.records import Token
from sinks.postgres.audit_log import record
from sinks.postgres.catalogue.rejections import Rejection
from sinks.postgres.connect import Connection
from sinks.postgres.named_rows import fetch
from sinks.postgres.outbox import enqueue
from sinks.postgres.page import Page, page_of
from sinks.postgres.queries import load_queries

QUERIES = load_queries(Path(__file__).with_name("api_keys.sql"))
TOKENS_ROLE = "tokens"
PREFIX = "qsk_"
SECRET_BYTES = 32
ID_BYTES = 9
NAME_CHARS_MAX = 100
ROLES = ("viewer", "editor", "owner")
SCOPES = ("read", "write", "manage")

RandomText = Callable[[int], str]
"""As `secrets.token_urlsafe`: text with so many random bytes."""


class KeyRejected(Rejection):
    """The key cannot be made."""


class UnknownKey(Rejection):
    """There is no such key."""

    def __init__(self, key_id: str) -> None:
        super().__init__(key_id, ["there is no such API key"])


class KeyDraft(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`scopes`: of what the role may do, only this; empty: all. `expires_at`: ms since the epoch."""

    name: str
    role: str = "viewer"
    scopes: list[str] = []
    expires_at: int | None = None


class NewKey(msgspec.Struct, frozen=True):
    """`secret` is shown once: only its hash is stored."""

    key_id: str
    secret: str


class Key(NamedTuple):
    key_id: str
    name: str
    role: str
    scopes: list[str]
    expires_at: datetime | None
    revoked_at: datetime | None
    created_at: datetime


class _Stored(NamedTuple):
    token_hash: str
    key_id: str
    name: str
    role: str
    scopes: list[str]
    expires_at: int | None
    version: int
    revoked: bool
    created_at: datetime


def revocation_of(tenant_id: str, token_id: str) -> str:
    """The hash under which a signed token of the tenant is revoked; `token_id` is its `jti`."""
    return hashlib.sha256(f"jti:{tenant_id}:{token_id}".encode()).hexdigest()


def make_key(
    connection: Connection, actor: str, tenant_id: str, draft: KeyDraft, now_ms: int, random_text: RandomText
) -> NewKey:
    """Make a key; processes accept it once its event has arrived. Raises `KeyRejected`."""
    problems = _problems(draft, now_ms)
    if problems:
        raise KeyRejected(tenant_id, problems)
    made = NewKey(f"key_{random_text(ID_BYTES)}", PREFIX + random_text(SECRET_BYTES))
    hashed = hashlib.sha256(made.secret.encode()).hexdigest()
    with connection.transaction():
        connection.execute(
            QUERIES["insert_key"],
            {
                "hash": hashed,
                "tenant": tenant_id,
                "key": made.key_id,
                "name": draft.name,
                "role": draft.role,
                "scopes": draft.scopes,
                "expires_at": draft.expires_at,
            },
        )
        token = Token(hashed, tenant_id, 1, "service", False, draft.role, draft.scopes, draft.expires_at)
        _publish(connection, msgspec.structs.replace(token, key_id=made.key_id))
        detail = {"tenant": tenant_id, "role": draft.role, "scopes": draft.scopes}
        record(connection, actor, "api-key.create", made.key_id, **detail)
    return made


def revoke_key(connection: Connection, actor: str, tenant_id: str, key_id: str) -> bool:
    """Return whether it was in force. Raises `UnknownKey`."""
    with connection.transaction():
        stored = _locked(connection, tenant_id, key_id)
        if stored.revoked:
            return False
        _change(connection, tenant_id, stored, revoked=True, expires_at=stored.expires_at)
        record(connection, actor, "api-key.revoke", key_id, tenant=tenant_id)
    return True


def rotate_key(
    connection: Connection,
    actor: str,
    tenant_id: str,
    key_id: str,
    *,
    overlap_ms: int,
    now_ms: int,
    random_text: RandomText,
) -> NewKey:
    """Make a key like this one, which stays in force for `overlap_ms`.

    Raises `UnknownKey` and `KeyRejected`.
    """
    with connection.transaction():
        stored = _locked(connection, tenant_id, key_id)
        if stored.revoked:
            raise KeyRejected(key_id, ["it was revoked"])
        draft = KeyDraft(stored.name, stored.role, stored.scopes, stored.expires_at)
        made = make_key(connection, actor, tenant_id, draft, now_ms, random_text)
        ends_at = now_ms + overlap_ms
        if stored.expires_at is not None:
            ends_at = min(ends_at, stored.expires_at)
        _change(connection, tenant_id, stored, revoked=False, expires_at=ends_at)
        record(connection, actor, "api-key.rotate", key_id, tenant=tenant_id, successor=made.key_id)
    return made


def find_key(connection: Connection, tenant_id: str, key_id: str) -> Key:
    """Raises `UnknownKey`."""
    found = fetch(connection, QUERIES["find_key"], Key, {"tenant": tenant_id, "key": key_id})
    if not found:
        raise UnknownKey(key_id)
    return found[0]


def list_keys(connection: Connection, tenant_id: str, *, limit: int, after: str | None = None) -> Page[Key]:
    """By id; `after` is the cursor of the page before."""
    parameters = {"tenant": tenant_id, "after": after or "", "limit": limit + 1}
    return page_of(fetch(connection, QUERIES["list_keys"], Key, parameters), limit, lambda key: key.key_id)


def revoke_signed(connection: Connection, actor: str, tenant_id: str, token_id: str) -> bool:
    """Revoke the signed token with this `jti`; return whether it was in force.

    `tenant_id` is "*" for a token of the platform.
    """
    hashed = revocation_of(tenant_id, token_id)
    with connection.transaction():
        given = {"hash": hashed, "tenant": tenant_id}
        if connection.execute(QUERIES["revoke_signed"], given).rowcount == 0:
            return False
        _publish(connection, Token(hashed, tenant_id, 1, revoked=True))
        record(connection, actor, "signed-token.revoke", hashed, tenant=tenant_id)
    return True


def _locked(connection: Connection, tenant_id: str, key_id: str) -> _Stored:
    found = fetch(connection, QUERIES["lock_key"], _Stored, {"tenant": tenant_id, "key": key_id})
    if not found:
        raise UnknownKey(key_id)
    return found[0]


def _change(
    connection: Connection, tenant_id: str, stored: _Stored, *, revoked: bool, expires_at: int | None
) -> None:
    version = stored.version + 1
    connection.execute(
        QUERIES["change_key"],
        {"hash": stored.token_hash, "version": version, "revoked": revoked, "expires_at": expires_at},
    )
    token = Token(
        stored.token_hash,
        tenant_id,
        version,
        revoked=revoked,
        role=stored.role,
        scopes=stored.scopes,
        expires_at=expires_at,
        key_id=stored.key_id,
    )
    _publish(connection, token)


def _publish(connection: Connection, token: Token) -> None:
    enqueue(connection, TOKENS_ROLE, token.token_hash.encode(), codec("token").encode(token))


def _problems(draft: KeyDraft, now_ms: int) -> list[str]:
    problems = []
    if not 0 < len(draft.name.strip()) <= NAME_CHARS_MAX or "\x00" in draft.name:
        problems.append(f"its name must have 1 to {NAME_CHARS_MAX} characters")
    if draft.role not in ROLES:
        problems.append(f"its role must be one of {', '.join(ROLES)}")
    unknown: Sequence[str] = sorted({*draft.scopes} - {*SCOPES})
    if unknown or len(draft.scopes) > len(SCOPES):
        problems.append(f"its scopes must be of {', '.join(SCOPES)}, each once")
    if draft.expires_at is not None and draft.expires_at <= now_ms:
        problems.append("it would have expired already")
    return problems
