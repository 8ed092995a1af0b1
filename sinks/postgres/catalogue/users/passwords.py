"""Passwords of users: their length, and their argon2id hash, the only thing that is stored of them.

A hash takes MEMORY_KIB of memory and about 0.1 s of one core. Callers bound how many run at once.
"""

from __future__ import annotations

import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

CHARS_MIN = 12
CHARS_MAX = 128
# RFC 9106, section 4, the second recommended option, with one lane: the pool that runs it bounds the threads.
MEMORY_KIB = 65_536
PASSES = 3
LANES = 1

_HASHER = PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES)


def problem(password: str) -> str | None:
    """Return why it cannot be a password; None where it can. The text has nothing of it.

    Counted are the characters that are hashed: an "e" with a combining accent is one, not two.
    """
    if not CHARS_MIN <= len(_composed(password)) <= CHARS_MAX:
        return f"a password must have {CHARS_MIN} to {CHARS_MAX} characters"
    return None


def hash_of(password: str) -> str:
    """Return an argon2id hash with a salt of its own, in PHC form. Blocks."""
    return _HASHER.hash(_bytes(password))


def matches(password: str, hashed: str) -> bool:
    """Whether the hash is of this password. Blocks."""
    try:
        return _HASHER.verify(hashed, _bytes(password))
    except (VerificationError, InvalidHashError):
        return False


def _composed(password: str) -> str:
    """NFC: keyboards differ in how they send an accented letter."""
    return unicodedata.normalize("NFC", password)


def _bytes(password: str) -> bytes:
    """JSON may have a lone surrogate, which UTF-8 has not."""
    return _composed(password).encode("utf-8", "surrogatepass")
