"""The caller of a request: anonymous, or a service identified by its token. Only token hashes are stored."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

import msgspec

from ingest_api.http.problems import INVALID_TOKEN, WRONG_TENANT, Rejection, rejection
from schemas.records import EVERY_TENANT, Token


class Anonymous(msgspec.Struct, frozen=True):
    """A browser on a public quiz page."""


class Service(msgspec.Struct, frozen=True):
    tenant_id: str  # or EVERY_TENANT
    token_hash: str = ""


Caller = Anonymous | Service
ANONYMOUS = Anonymous()


class Tokens:
    """Written by the follower's thread and read by the event loop's: each change is one assignment."""

    def __init__(self, now_s: Callable[[], float] = time.time) -> None:
        self._now_s = now_s
        self._by_hash: dict[str, Token] = {}

    def on_event(self, key: bytes, token: Token | None) -> None:
        """Apply a version; an older one is ignored, so that a late record never undoes a revocation."""
        if token is None:
            self._by_hash.pop(key.decode(errors="replace"), None)
            return
        known = self._by_hash.get(token.token_hash)
        if known is None or token.version >= known.version:
            self._by_hash[token.token_hash] = token

    def caller(self, authorization: bytes | None) -> Caller:
        """Return the caller; without a header it is anonymous. Raises Rejection for a token not in force."""
        if authorization is None:
            return ANONYMOUS
        scheme, _, secret = authorization.partition(b" ")
        if scheme.lower() != b"bearer":
            raise _invalid("the scheme must be Bearer")
        service = self._service(secret)
        if service is None:
            raise _invalid("it is unknown or revoked")
        return service

    def find(self, authorization: bytes | None) -> Service | None:
        """Return the service whose token is in force; None for every other caller."""
        if authorization is None:
            return None
        scheme, _, secret = authorization.partition(b" ")
        return self._service(secret) if scheme.lower() == b"bearer" else None

    def _service(self, secret: bytes) -> Service | None:
        token = self._by_hash.get(hashlib.sha256(secret.strip()).hexdigest())
        if token is None or token.revoked or not _may_submit(token):
            return None
        if token.expires_at is not None and token.expires_at <= self._now_s() * 1000:
            return None
        return Service(token.tenant_id, token.token_hash)


def _may_submit(token: Token) -> bool:
    """A service token may; an API key, which has a role, where it may write."""
    if not token.role:
        return True
    return token.role in ("editor", "owner") and (not token.scopes or "write" in token.scopes)


def require_tenant(caller: Caller, tenant_id: str) -> None:
    """Raise Rejection for a service token of another tenant."""
    if isinstance(caller, Service) and caller.tenant_id not in (tenant_id, EVERY_TENANT):
        raise rejection(WRONG_TENANT, "the quiz belongs to another tenant than the token")


def _invalid(detail: str) -> Rejection:
    return rejection(INVALID_TOKEN, detail, headers=((b"www-authenticate", b"Bearer"),))
