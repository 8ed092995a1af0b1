"""Idempotency key and submission time of a completion, from which its id and its day follow."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from ingest_api.http.problems import CONFLICTING_KEYS, INVALID_KEY, OUT_OF_TIME, pointer, rejection, shown

HOUR_MS = 3_600_000

# Two people whose scripts have no key would be one completion.
_NO_KEYS = frozenset(("undefined", "null", "none", "nil", "nan", "true", "false", "{}", "[]"))
_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True)
class TimeBounds:
    """The accepted distance of `submitted_at` from now; `past_name` is the limit's name in the topology."""

    past_h: int
    past_name: str
    future_s: int
    future_is_error: bool = True  # otherwise a time too far ahead comes from a wrong clock

    def holds(self, time_ms: int, now_ms: int) -> bool:
        return now_ms - self.past_h * HOUR_MS <= time_ms <= now_ms + self.future_s * 1000


def idempotency_key(header: bytes | None, completion_id: str | None, chars_max: int) -> str | None:
    """Return the client's key, or None. Raises Rejection for an unusable key and for two different keys.

    The header may be quoted, as in the IETF draft: `"abc"` and `abc` are the same key. A comma or a quote in
    it is the sign of two headers that a proxy has joined.
    """
    by_header = None
    if header is not None:
        text = header.decode("latin-1")
        if len(text) > 1 and text[0] == text[-1] == '"':
            text = text[1:-1]
            joined = '"' in text
        else:
            joined = "," in text
        if joined:
            raise rejection(INVALID_KEY, "Idempotency-Key has several values; send one, or quote a comma")
        if not text.isascii():
            raise rejection(INVALID_KEY, "Idempotency-Key is not ASCII; send such a key as completion_id")
        by_header = _checked(text, "Idempotency-Key", None, chars_max)
    if completion_id is None:
        return by_header
    by_body = _checked(completion_id, "completion_id", pointer("completion_id"), chars_max)
    if by_header is not None and by_header != by_body:
        raise rejection(
            CONFLICTING_KEYS,
            "Idempotency-Key and completion_id are both given and differ",
            pointer=pointer("completion_id"),
        )
    return by_body


def _checked(key: str, name: str, place: str | None, chars_max: int) -> str:
    if not key.strip():
        raise rejection(INVALID_KEY, f"{name} is empty; omit it or send a key", pointer=place)
    if len(key) > chars_max:
        raise rejection(
            INVALID_KEY, f"{name} has {len(key)} characters; at most {chars_max} are accepted", pointer=place
        )
    if not key.isprintable():
        raise rejection(INVALID_KEY, f"{name} contains a non-printable character", pointer=place)
    if key.strip().lower() in _NO_KEYS or key.startswith("[object "):
        raise rejection(
            INVALID_KEY,
            f"{name} is {shown(key)}, which a script writes for a missing value; omit it or send a key",
            pointer=place,
        )
    return key


def new_key(now_ms: int, random_bytes: Callable[[int], bytes]) -> str:
    """Return a UUIDv7 for a request without a key; no other request has it."""
    bits = int.from_bytes(random_bytes(10), "big")
    head = (now_ms & (1 << 48) - 1) << 16 | 0x7000 | bits >> 68
    tail = 1 << 63 | bits & (1 << 62) - 1
    text = f"{head:016x}{tail:016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def time_in(key: str) -> int | None:
    """Return the time of a UUIDv7 in ms since the epoch, or None for any other key."""
    if len(key) != 36 or not _UUID7.fullmatch(key):
        return None
    return int(key[:8] + key[9:13], 16)


def clock_ahead_ms(given_ms: int | None, now_ms: int, bounds: TimeBounds) -> int:
    """Return how far the client's clock is ahead if that is out of bounds and no error; else 0."""
    if given_ms is None or bounds.future_is_error or given_ms <= now_ms + bounds.future_s * 1000:
        return 0
    return given_ms - now_ms


def submitted_at(given_ms: int | None, key: str | None, now_ms: int, bounds: TimeBounds) -> int:
    """Return the submission time in ms since the epoch: the given one, else that of the key, else now.

    - A given time out of bounds raises Rejection: the client set it on purpose.
    - A key's time out of bounds is ignored: the key may contain a time by accident.
    """
    if given_ms is not None:
        if not bounds.holds(given_ms, now_ms):
            raise rejection(
                OUT_OF_TIME, _out_of_bounds(given_ms, now_ms, bounds), pointer=pointer("submitted_at")
            )
        return given_ms
    key_ms = time_in(key) if key is not None else None
    return key_ms if key_ms is not None and bounds.holds(key_ms, now_ms) else now_ms


def _out_of_bounds(time_ms: int, now_ms: int, bounds: TimeBounds) -> str:
    if time_ms > now_ms:
        ahead_s = (time_ms - now_ms) // 1000
        return f"it is {ahead_s} s ahead; at most {bounds.future_s} s are accepted (submitted_future_max_s)"
    past_h = (now_ms - time_ms) // HOUR_MS
    return f"it is {past_h} h ago; at most {bounds.past_h} h are accepted ({bounds.past_name})"
