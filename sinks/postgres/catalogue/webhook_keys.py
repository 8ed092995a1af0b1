"""Keys in the webhook addresses of session numbers: each number has its own, and only its hash is stored.

Such a provider signs nothing. So the address names the number, and its key proves nothing but this number.
Each change is published on a compacted topic: the edge verifies a request without a query.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from schemas.codec import codec
from schemas.records import WebhookKey
from sinks import providers
from sinks.postgres.audit_log import record
from sinks.postgres.catalogue.numbers import NumberRejected, UnknownNumber
from sinks.postgres.connect import Connection
from sinks.postgres.named_rows import fetch
from sinks.postgres.outbox import enqueue
from sinks.postgres.queries import load_queries

QUERIES = load_queries(Path(__file__).with_name("webhook_keys.sql"))
WEBHOOK_KEYS_ROLE = "webhook_keys"
KEY_BYTES = 32

RandomText = Callable[[int], str]


class KeyStanding(NamedTuple):
    """`changed_at` is None for a number without a key; `former_until`: the key before is still accepted."""

    number_id: str
    provider: str
    changed_at: datetime | None
    former_until: int | None  # ms since the epoch


class _Stored(NamedTuple):
    provider: str
    tenant_id: str
    key_provider: str | None
    version: int | None
    key_hash: str | None
    former_hash: str | None
    former_until: int | None
    changed_at: datetime | None


def key_hash(key: str) -> str:
    """SHA-256, hex: all that is ever stored of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def read_key(connection: Connection, number_id: str, now_ms: int) -> KeyStanding:
    """Raises `UnknownNumber`, and `NumberRejected` for a provider that signs its webhooks."""
    stored = _stored(connection, "get_number", number_id)
    has_key = stored.key_provider == stored.provider
    until = stored.former_until if has_key and stored.former_hash else None
    return KeyStanding(
        number_id,
        stored.provider,
        stored.changed_at if has_key else None,
        until if until is not None and until > now_ms else None,
    )


def rotate_webhook_key(
    connection: Connection,
    actor: str,
    number_id: str,
    *,
    overlap_ms: int,
    now_ms: int,
    random_text: RandomText,
) -> str:
    """Make a new key, which is returned once; the key before stays in force for `overlap_ms`.

    Edges accept it once its event has arrived. Raises `UnknownNumber`, and `NumberRejected` for a provider
    that signs its webhooks.
    """
    key = random_text(KEY_BYTES)
    with connection.transaction():
        stored = _stored(connection, "lock_number", number_id)
        former = stored.key_hash if overlap_ms > 0 and stored.key_provider == stored.provider else None
        _save(
            connection, number_id, stored, key_hash(key), former or "", now_ms + overlap_ms if former else 0
        )
        detail = {"tenant": stored.tenant_id, "overlap_s": overlap_ms // 1000 if former else 0}
        record(connection, actor, "number.rotate-webhook-key", number_id, **detail)
    return key


def save_webhook_key(connection: Connection, number_id: str, key: str) -> bool:
    """Give a number of the simulator its key; returns whether it changed. Raises as `rotate_webhook_key`."""
    with connection.transaction():
        stored = _stored(connection, "lock_number", number_id)
        if (stored.key_provider, stored.key_hash) == (stored.provider, key_hash(key)):
            return False
        _save(connection, number_id, stored, key_hash(key), "", 0)
    return True


def has_own_address(provider: str) -> bool:
    """Whether each number of this provider has a webhook address and a key of its own."""
    return providers.webhooks_of(provider).signing_variable is None


def _stored(connection: Connection, query: str, number_id: str) -> _Stored:
    found = fetch(connection, QUERIES[query], _Stored, [number_id])
    if not found:
        raise UnknownNumber(number_id)
    if not has_own_address(found[0].provider):
        problem = f"the webhooks of {found[0].provider} are verified by signature: its numbers have no keys"
        raise NumberRejected(number_id, [problem])
    return found[0]


def _save(
    connection: Connection, number_id: str, stored: _Stored, hashed: str, former: str, former_until: int
) -> None:
    version = (stored.version or 0) + 1
    given = {
        "number": number_id,
        "provider": stored.provider,
        "version": version,
        "hash": hashed,
        "former_hash": former,
        "former_until": former_until if former else None,
    }
    connection.execute(QUERIES["save_key"], given)
    event = WebhookKey(number_id, stored.provider, version, hashed, former, former_until)
    enqueue(connection, WEBHOOK_KEYS_ROLE, number_id.encode(), codec("webhook_key").encode(event))
