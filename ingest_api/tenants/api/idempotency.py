"""A POST that is repeated with its Idempotency-Key changes nothing, and gets the same answer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ingest_api.http.problems import INVALID_KEY, KEY_REUSED, rejection
from ingest_api.tenants.pool.metrics import REPEATED
from sinks.postgres.connect import Connection
from sinks.postgres.named_rows import fetch
from sinks.postgres.queries import load_queries

QUERIES = load_queries(Path(__file__).with_name("idempotency.sql"))
KEY_CHARS_MAX = 200

Encoded = tuple[int, bytes]
"""Status and body of an answer."""


class Done(NamedTuple):
    """`repeated`: the body of the answer to a repetition, which is what is stored."""

    status: int
    body: bytes
    repeated: bytes


class _Before(NamedTuple):
    operation: str
    content_hash: str
    status: int
    answer: bytes


def key_of(header: bytes | None) -> str | None:
    """Raise Rejection for a key that cannot be used."""
    if header is None:
        return None
    key = header.decode("latin-1").strip()
    if not 0 < len(key) <= KEY_CHARS_MAX or not key.isascii() or not key.isprintable():
        raise rejection(INVALID_KEY, f"it must have 1 to {KEY_CHARS_MAX} printable characters")
    return key


def once(
    connection: Connection,
    tenant_id: str,
    key: str,
    operation: str,
    content: bytes,
    work: Callable[[], Done],
) -> Encoded:
    """Run `work` unless a request with this key was answered; then return its answer.

    In the transaction of the change: the second of two requests at once waits for the first. A rejection
    leaves nothing. Raises Rejection for a key that came with another request.
    """
    given = {"tenant": tenant_id, "key": key, "operation": operation}
    hashed = hashlib.sha256(content).hexdigest()
    if connection.execute(QUERIES["begin"], given | {"content": hashed}).rowcount == 1:
        done = work()
        connection.execute(QUERIES["finish"], given | {"status": done.status, "answer": done.repeated})
        return done.status, done.body
    (before,) = fetch(connection, QUERIES["answered"], _Before, given)
    if (before.operation, before.content_hash) != (operation, hashed):
        raise rejection(KEY_REUSED, "the key was used for another request")
    REPEATED.inc()
    return before.status, bytes(before.answer)
