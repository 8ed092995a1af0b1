"""Removes personal data from an event, for commands whose output ends up in logs and tickets."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from datetime import date, timedelta
from typing import Any

import msgspec

from schemas.phones import masked

# Fields outside of `personal` whose values come from a person; each may hold a name.
_FROM_A_PERSON = ("answers", "variables")


def impersonal(event: Any) -> dict[str, Any]:
    """The fields of `event` with the phone masked, answers and variables counted, and a day as ISO text.

    Names, addresses and raw bodies are left out.
    """
    detail = without_answers(msgspec.to_builtins(event, builtin_types=(bytes,)))
    personal = detail.pop("personal", None)
    if isinstance(personal, dict) and personal.get("phone"):
        detail["phone"] = masked(personal["phone"])
    if "day" in detail:
        detail["day"] = (date(1970, 1, 1) + timedelta(days=detail["day"])).isoformat()
    return detail


def without_answers(detail: Mapping[str, Any]) -> dict[str, Any]:
    """`detail` with the number of values where it had answers or variables."""
    return {
        name: f"{len(value)} values, not shown"
        if name in _FROM_A_PERSON and isinstance(value, Sized)
        else value
        for name, value in detail.items()
    }
