"""JSON of the Cloud API, read so that one malformed string spoils only itself."""

from __future__ import annotations

import json
import re
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


def code_of(found: object) -> int | None:
    """A code as number, as text or as a float without a fraction; None for anything else."""
    if isinstance(found, float):
        return int(found) if found.is_integer() and abs(found) < 1e12 else None
    if isinstance(found, str):
        text = found.strip()
        whole = re.fullmatch(r"(-?\d{1,9})(?:\.0{1,6})?", text, re.ASCII)
        return int(whole[1]) if whole is not None else None
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def _not_json(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _integer(digits: str) -> int:
    return int(digits) if len(digits) <= 20 else 0
