"""Who asks: nobody in particular, or a service by its token, which the edge knows by its hash only."""

from __future__ import annotations

import hashlib

import msgspec

from ingest_api.http.problems import INVALID_TOKEN, WRONG_TENANT, Refusal, refusal
from schemas.records import Token

ANY_TENANT = "*"


class Anonymous(msgspec.Struct, frozen=True):
    """A browser on a public quiz page."""


class Service(msgspec.Struct, frozen=True):
    tenant_id: str  # or ANY_TENANT


Caller = Anonymous | Service
ANONYMOUS = Anonymous()


class Tokens:
    """Written by the follower's thread, read by the loop's: each change is one assignment."""

    def __init__(self) -> None:
        self._by_hash: dict[str, Token] = {}

    def on_event(self, key: bytes, token: Token | None) -> None:
        """Ignores a version older than the known one: a revocation is never undone by a late record."""
        if token is None:
            self._by_hash.pop(key.decode(errors="replace"), None)
            return
        known = self._by_hash.get(token.token_hash)
        if known is None or token.version >= known.version:
            self._by_hash[token.token_hash] = token

    def caller(self, authorization: bytes | None) -> Caller:
        """Raises Refusal for a header that names no token in force. Without a header: anonymous."""
        if authorization is None:
            return ANONYMOUS
        scheme, _, secret = authorization.partition(b" ")
        if scheme.lower() != b"bearer":
            raise _not_known("the scheme must be Bearer")
        token = self._by_hash.get(hashlib.sha256(secret.strip()).hexdigest())
        if token is None or token.revoked:
            raise _not_known("it is not known, or was revoked")
        return Service(token.tenant_id)


def require_tenant(caller: Caller, tenant_id: str) -> None:
    """Raises Refusal for a service token of another tenant."""
    if isinstance(caller, Service) and caller.tenant_id not in (tenant_id, ANY_TENANT):
        raise refusal(WRONG_TENANT, "the quiz is not of the token's tenant")


def _not_known(detail: str) -> Refusal:
    return refusal(INVALID_TOKEN, detail, headers=((b"www-authenticate", b"Bearer"),))
