"""The public keys of signed tokens: a JSON Web Key Set from a file or an address, read again when it changes.

Each key has one algorithm, which the set states or the key's type decides. A token's own header only names
the key: so no token can choose how it is verified.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import jwt

log = logging.getLogger(__name__)

RSA_BITS_MIN = 2048
SECRET_BYTES_MIN = 32  # of HS256, in development
KEYS_MAX = 100
_ALGORITHMS = {"OKP": "EdDSA", "RSA": "RS256", "oct": "HS256"}

Load = Callable[[], Awaitable[str]]


class BadKeySet(Exception):
    """The set cannot be used; the message has no key material."""


class SigningKey:
    """`algorithm` is fixed when the key is read."""

    def __init__(self, key_id: str, algorithm: str, key: Any) -> None:
        self.key_id = key_id
        self.algorithm = algorithm
        self.key = key


def parse(text: str, *, development: bool = False) -> dict[str, SigningKey]:
    """Return the keys of a set by their ids. Raises `BadKeySet`.

    A symmetric key is accepted in development only: whoever can verify with it could also sign.
    """
    try:
        entries = json.loads(text)["keys"]
    except (ValueError, KeyError, TypeError):
        raise BadKeySet('it is not JSON of the form {"keys": [...]}') from None
    if not isinstance(entries, list) or not 0 < len(entries) <= KEYS_MAX:
        raise BadKeySet(f"it must have 1 to {KEYS_MAX} keys")
    keys: dict[str, SigningKey] = {}
    for position, entry in enumerate(entries, start=1):
        key = _key(f"key {position}", entry, development=development)
        if key.key_id in keys:
            raise BadKeySet(f"key {position} has the kid of another")
        keys[key.key_id] = key
    return keys


def _key(place: str, entry: Any, *, development: bool) -> SigningKey:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("kid"), str) or not entry["kid"]:
        raise BadKeySet(f"{place} has no kid")
    algorithm = _ALGORITHMS.get(str(entry.get("kty")))
    if algorithm is None or entry.get("alg", algorithm) != algorithm or "d" in entry:
        raise BadKeySet(f"{place} must be a public key for EdDSA (Ed25519) or RS256")
    if algorithm == "HS256" and not development:
        raise BadKeySet(f"{place} is symmetric, which only development allows")
    try:
        key: Any = jwt.PyJWK(dict(entry), algorithm).key
    except (jwt.PyJWTError, ValueError, KeyError, TypeError):
        raise BadKeySet(f"{place} cannot be read") from None
    if algorithm == "RS256" and key.key_size < RSA_BITS_MIN:
        raise BadKeySet(f"{place} has fewer than {RSA_BITS_MIN} bits")
    if algorithm == "EdDSA" and entry.get("crv") != "Ed25519":
        raise BadKeySet(f"{place} is not of the curve Ed25519")
    if algorithm == "HS256" and len(key) < SECRET_BYTES_MIN:
        raise BadKeySet(f"{place} has fewer than {SECRET_BYTES_MIN} bytes")
    return SigningKey(entry["kid"], algorithm, key)


class SigningKeys:
    """The keys in force. A set that cannot be read leaves those of before.

    A key that is removed from the set is no longer accepted after `refresh_s`. An unknown key id reads the
    set again, at most once in `unknown_refresh_s`: strangers cannot make the process read it more often.
    """

    def __init__(
        self,
        load: Load,
        clock: Callable[[], float],
        *,
        refresh_s: float,
        unknown_refresh_s: float,
        development: bool = False,
    ) -> None:
        self._load = load
        self._clock = clock
        self._refresh_s = refresh_s
        self._unknown_refresh_s = unknown_refresh_s
        self._development = development
        self._keys: dict[str, SigningKey] = {}
        self._text = ""
        self._version = 0
        self._read_at_s = float("-inf")
        self._reading = asyncio.Lock()
        self.problem: str | None = "the signing keys were not read yet"

    async def find(self, key_id: str) -> SigningKey | None:
        """Return the key in force; None where there is none of this id."""
        age_s = self._clock() - self._read_at_s
        known = key_id in self._keys
        if age_s >= self._refresh_s or (not known and age_s >= self._unknown_refresh_s):
            await self._refresh(self._read_at_s)
        elif not known and self._reading.locked():
            async with self._reading:  # the set that is being read may have it
                pass
        return self._keys.get(key_id)

    async def version(self) -> int:
        """Return how often the set has changed; what a token of an earlier one proved is outdated."""
        if self._clock() - self._read_at_s >= self._refresh_s:
            await self._refresh(self._read_at_s)
        return self._version

    async def _refresh(self, seen_at_s: float) -> None:
        async with self._reading:
            if self._read_at_s != seen_at_s:
                return  # another request has read it meanwhile
            self._read_at_s = self._clock()
            try:
                text = await self._load()
                self._keys = parse(text, development=self._development)
                self._version += text != self._text
                self._text = text
                self.problem = None
            except (TimeoutError, OSError, BadKeySet) as error:
                self.problem = f"cannot read the signing keys ({error}): those of before stay in force"
                log.warning("%s; retrying in %g s", self.problem, self._unknown_refresh_s)
                # Soon again, but not for each request.
                self._read_at_s = self._clock() - self._refresh_s + self._unknown_refresh_s
