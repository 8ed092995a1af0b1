"""States what is wrong with a body that is not the expected JSON: as a problem, with the place in it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from ingest_api.http.problems import (
    INVALID_BODY,
    INVALID_JSON,
    REPEATED_FIELD,
    Rejection,
    pointer,
    rejection,
    shown,
)

_PLACE = re.compile(r"(.*) - at `\$(.*)`", re.DOTALL)
_HIGH, _LOW = rb"\\u[dD][89abAB][0-9a-fA-F]{2}", rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_HALF_PAIR = re.compile(_HIGH + rb"(?!" + _LOW + rb")|(?<!" + _HIGH + rb")" + _LOW)
_STEP = re.compile(r"\.([A-Za-z_]+)|\[(\d+)\]")


def require_each_key_once(body: bytes) -> None:
    """Raise Rejection if an object of the body, which is JSON, has a key twice."""
    json.loads(body, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for key, value in pairs:
        if key in seen:
            raise rejection(REPEATED_FIELD, f'"{shown(key)}" is given twice')
        seen[key] = value
    return seen


def misshapen(message: str, located: Callable[[str, list[str]], list[str]] | None = None) -> Rejection:
    """Return the rejection for the message of a decoder.

    `located` may name the steps of a path that the decoder leaves open: it gets the path and its steps.
    """
    place = _PLACE.fullmatch(message)
    if place is None:
        return rejection(INVALID_BODY, _shape_detail(message), pointer="#")
    what, path = place[1], place[2]
    steps = [name or index for name, index in _STEP.findall(path.replace("[...]", ""))]
    if located is not None:
        steps = located(path, steps)
    return rejection(INVALID_BODY, _shape_detail(what), pointer=pointer(*steps))


def _shape_detail(message: str) -> str:
    before, quote, name = message.partition("unknown field `")
    if quote:
        return f'{before}unknown field "{shown(name.rstrip("`"))}"'
    return shown(message.replace("`", ""))


def not_json(body: bytes, error: Exception) -> Rejection:
    return rejection(INVALID_JSON, _detail(body, error))


def _detail(body: bytes, error: Exception) -> str:
    if not body.strip():
        return "the body is empty"
    if isinstance(error, UnicodeDecodeError):
        return "a text is not UTF-8"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    half = _half_pair(body)
    if half is not None:
        return f"a text has half of a character ({half}): it was cut inside; send both halves or neither"
    return shown(str(error))


def _half_pair(body: bytes) -> str | None:
    """Return a surrogate escape without its other half, if nothing else is wrong with the body."""
    found = _HALF_PAIR.search(body.replace(b"\\\\", b""))
    if found is None:
        return None
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found[0].decode()
