"""JSON of a provider, read so that one malformed string spoils only itself."""

from __future__ import annotations

import json
from typing import Any

import msgspec


def decoded(body: bytes) -> Any:
    """The value. A lone surrogate or a byte that is not UTF-8 stays in its string, for `plain` to replace.

    Raises ValueError for what is not JSON.
    """
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        pass
    try:
        return json.loads(body.decode("utf-8", "replace"), parse_constant=_not_json, parse_int=_integer)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None


def decoded_object(body: bytes) -> dict[str, Any]:
    """The object; empty for what is none."""
    try:
        content = decoded(body)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _not_json(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _integer(digits: str) -> int:
    return int(digits) if len(digits) <= 20 else 0
