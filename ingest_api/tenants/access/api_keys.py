"""API keys and revocations in memory, from the topic of tokens. Only hashes are stored anywhere."""

from __future__ import annotations

import hashlib

from ingest_api.tenants.access.roles import Principal, permissions_of
from schemas.records import Token

API_KEY_PREFIX = b"qsk_"
KEY_ROLES = ("viewer", "editor", "owner")
NEVER_S = float("inf")


class ApiKeys:
    """Written by the follower's thread and read by the event loop's: each change is one assignment."""

    def __init__(self) -> None:
        self._by_hash: dict[str, Token] = {}

    def on_event(self, key: bytes, token: Token | None) -> None:
        """Apply a version; an older one is ignored, so that a late record never undoes a revocation."""
        if token is None:
            self._by_hash.pop(key.decode(errors="replace"), None)
            return
        known = self._by_hash.get(token.token_hash)
        if known is None or token.version >= known.version:
            self._by_hash[token.token_hash] = token

    def find(self, secret: bytes, now_s: float) -> Principal | None:
        """Return the caller of a key in force; a service token is none."""
        hashed = hashlib.sha256(secret).hexdigest()
        token = self._by_hash.get(hashed)
        if token is None or token.revoked or token.role not in KEY_ROLES:
            return None
        expires_s = NEVER_S if token.expires_at is None else token.expires_at / 1000
        if expires_s <= now_s:
            return None
        permissions = permissions_of(token.role, token.scopes)
        return Principal(f"key:{token.key_id}", token.tenant_id, token.role, permissions, hashed, expires_s)

    def is_revoked(self, hashed: str) -> bool:
        token = self._by_hash.get(hashed)
        return token is not None and token.revoked
