"""Values of webhooks of WhatsApp Web sessions: numbers and booleans come as such or as text. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sinks.outcomes import plain

MS_FROM = 10**11  # a greater time is in milliseconds
REMOVED = b'"removed"'


def text_at(part: Mapping[str, Any], *path: str) -> str:
    """The text at the end of the path, trimmed; empty where there is none."""
    found: object = part
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return plain(found).strip() if isinstance(found, str) else ""


def is_true(found: object) -> bool:
    return found is True or (isinstance(found, str) and found.strip().lower() in ("true", "1")) or found == 1


def time_ms(found: object, received_at_ms: int) -> int:
    """Seconds or milliseconds; never later than the body was received."""
    stated = str(int(found)) if isinstance(found, float) and found.is_integer() else str(found)
    if isinstance(found, bool) or not re.fullmatch(r"[0-9]{1,16}", stated, re.ASCII) or int(stated) == 0:
        return received_at_ms
    at = int(stated)
    return min(at if at > MS_FROM else at * 1000, received_at_ms)


_CODES = ("error", "errorCode", "error_code", "code", "statusCode", "messageStubParameters")


def states_code(part: Mapping[str, Any], code: str) -> bool:
    """Whether one of the fields in which errors come has this code, as a number, a text or in a list."""
    for name in _CODES:
        found = part.get(name)
        for each in found if isinstance(found, list) else (found,):
            if isinstance(each, int | str) and not isinstance(each, bool) and str(each).strip() == code:
                return True
    return False


def secret_fields(*names: str, unless_digits: str = "") -> re.Pattern[bytes]:
    """Of JSON, the fields of these names that are texts; that of `unless_digits` unless it is digits."""
    listed = "|".join(map(re.escape, names)).encode()
    if unless_digits:
        listed += b"|" + re.escape(unless_digits).encode() + rb'(?!"\s*:\s*"[0-9]{1,6}")'
    return re.compile(rb'"(' + listed + rb')"(\s*:\s*)"(?:[^"\\]|\\.)*"', re.IGNORECASE)


def without(fields: re.Pattern[bytes], body: bytes) -> bytes:
    """The JSON with another text in those fields; everything else stays as it is."""
    return fields.sub(rb'"\1"\2' + REMOVED, body)
