"""Turns the Authorization header into a caller, without a query: keys and revocations are in memory.

- A signed token (JWT) is verified with the key that its `kid` names, by that key's one algorithm.
- An API key is found by its hash among those of the topic `tokens`.
- Verified tokens are remembered by their hash, in a bounded cache; a rejected one takes no memory.
- A remembered token counts for the key set that verified it: another set verifies it again.
- A revocation is looked up for every request: it counts as soon as its event has arrived.
- Before all revocations are read, no token is accepted: the caller is to send it again.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jwt

from ingest_api.http.problems import INVALID_TOKEN, NOT_READY, Rejection, rejection
from ingest_api.tenants.access.api_keys import API_KEY_PREFIX, ApiKeys
from ingest_api.tenants.access.metrics import REMEMBERED, TOKENS
from ingest_api.tenants.access.roles import ROLES, Principal, permissions_of
from ingest_api.tenants.access.signing_keys import SigningKeys
from schemas.records import EVERY_TENANT
from sinks.postgres.catalogue.api_keys import revocation_of

AUDIENCE = "quizstream"
TOKEN_BYTES_MAX = 4096
LEEWAY_S = 30.0  # between two clocks
LIFETIME_S_MAX = 24 * 3600.0
REMEMBERED_S = 300.0
REMEMBERED_MAX = 10_000
CLAIM_CHARS_MAX = 200
RETRY_AFTER_S = 1.0
_REQUIRED = ["exp", "iat", "aud", "sub", "jti", "tenant", "role"]


class _Remembered(NamedTuple):
    """`version`: of the key set that verified the token."""

    principal: Principal
    until_s: float
    version: int


class Authenticate:
    """`now_s`: seconds since the epoch."""

    def __init__(
        self,
        keys: SigningKeys | None,
        api_keys: ApiKeys,
        now_s: Callable[[], float],
        not_caught_up: Callable[[], Sequence[str]],
        *,
        issuer: str = "",
    ) -> None:
        """`not_caught_up`: why keys and revocations are not all known. `issuer`: empty accepts any."""
        self._keys = keys
        self._api_keys = api_keys
        self._now_s = now_s
        self._not_caught_up = not_caught_up
        self._issuer = issuer
        self._remembered: OrderedDict[bytes, _Remembered] = OrderedDict()

    async def caller(self, authorization: bytes | None) -> Principal:
        """Return who calls. Raises Rejection for a header that is missing, or a token not in force.

        Also while it is not known which tokens are revoked.
        """
        if authorization is None:
            raise _rejected("missing", "send Authorization: Bearer <token>")
        scheme, _, token = authorization.partition(b" ")
        token = token.strip()
        if scheme.lower() != b"bearer" or not token:
            raise _rejected("malformed", "the scheme must be Bearer")
        if len(token) > TOKEN_BYTES_MAX:
            raise _rejected("malformed", f"it is longer than {TOKEN_BYTES_MAX} bytes")
        if self._not_caught_up():
            TOKENS.labels("not_caught_up").inc()
            raise rejection(
                NOT_READY, "which tokens are revoked is not known yet", retry_after_s=RETRY_AFTER_S
            )
        if token.startswith(API_KEY_PREFIX):
            return self._of_api_key(token)
        return await self._of_signed(token)

    def _of_api_key(self, token: bytes) -> Principal:
        found = self._api_keys.find(token, self._now_s())
        if found is None:
            raise _rejected("unknown", "it is unknown, revoked or expired")
        TOKENS.labels("accepted").inc()
        return found

    async def _of_signed(self, token: bytes) -> Principal:
        digest = hashlib.sha256(token).digest()
        version = 0 if self._keys is None else await self._keys.version()
        principal = self._recall(digest, version)
        if principal is None:
            principal = await self._verified(token)
            self._remember(digest, principal, version)
        if self._now_s() >= principal.expires_at_s + LEEWAY_S:
            raise _rejected("expired", "it has expired")
        if self._api_keys.is_revoked(principal.revocation):
            raise _rejected("revoked", "it was revoked")
        TOKENS.labels("accepted").inc()
        return principal

    def _recall(self, digest: bytes, version: int) -> Principal | None:
        found = self._remembered.get(digest)
        if found is None or found.until_s <= self._now_s() or found.version != version:
            return None
        self._remembered.move_to_end(digest)
        return found.principal

    def _remember(self, digest: bytes, principal: Principal, version: int) -> None:
        """`version`: as it was before the verification, which may have read the next one."""
        self._remembered[digest] = _Remembered(principal, self._now_s() + REMEMBERED_S, version)
        self._remembered.move_to_end(digest)
        while len(self._remembered) > REMEMBERED_MAX:
            self._remembered.popitem(last=False)
        REMEMBERED.set(len(self._remembered))

    async def _verified(self, token: bytes) -> Principal:
        try:
            key_id = jwt.get_unverified_header(token).get("kid")
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise _rejected("malformed", "it is neither an API key nor a signed token") from None
        if self._keys is None or not isinstance(key_id, str):
            raise _rejected("unknown", "its key is not known here")
        key = await self._keys.find(key_id)
        if key is None:
            raise _rejected("unknown", "its key is not known here")
        claims = self._claims(token, key.key, key.algorithm)
        principal = _principal(claims)
        if principal is None:
            raise _rejected("claims", "its claims are not those of a token for this API")
        return principal

    def _claims(self, token: bytes, key: Any, algorithm: str) -> dict[str, Any]:
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=AUDIENCE,
                issuer=self._issuer or None,
                # The clock is injected: exp and iat are compared below.
                options={"require": _REQUIRED, "verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            # No detail: which check failed first helps only a forger.
            raise _rejected("signature", "its signature or its claims are not valid") from None
        now_s = self._now_s()
        times = [claims["exp"], claims["iat"], claims.get("nbf", claims["iat"])]
        if not all(type(time) in (int, float) and math.isfinite(time) for time in times):
            raise _rejected("claims", "its times are not numbers")
        expires_s, issued_s, not_before_s = times
        if expires_s + LEEWAY_S <= now_s:
            raise _rejected("expired", "it has expired")
        if max(issued_s, not_before_s) > now_s + LEEWAY_S:
            raise _rejected("future", "it is not valid yet")
        if expires_s - issued_s > LIFETIME_S_MAX:
            raise _rejected("claims", f"it is valid for more than {LIFETIME_S_MAX / 3600:g} h")
        return claims


def _principal(claims: dict[str, Any]) -> Principal | None:
    subject, tenant_id, role, token_id = (claims[name] for name in ("sub", "tenant", "role", "jti"))
    texts = (subject, tenant_id, role, token_id)
    if not all(isinstance(text, str) and 0 < len(text) <= CLAIM_CHARS_MAX for text in texts):
        return None
    if role not in ROLES or (tenant_id == EVERY_TENANT) != (role == "platform"):
        return None
    permissions = permissions_of(role, [])
    return Principal(
        subject, tenant_id, role, permissions, revocation_of(tenant_id, token_id), float(claims["exp"])
    )


def _rejected(why: str, detail: str) -> Rejection:
    TOKENS.labels(why).inc()
    return rejection(INVALID_TOKEN, detail, headers=((b"www-authenticate", b"Bearer"),))
