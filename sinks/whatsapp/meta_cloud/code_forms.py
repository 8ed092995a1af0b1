"""The forms in which the Cloud API writes a code."""

from __future__ import annotations

import re


def code_of(found: object) -> int | None:
    """A code as number, as text or as a float without a fraction; None for anything else."""
    if isinstance(found, float):
        return int(found) if found.is_integer() and abs(found) < 1e12 else None
    if isinstance(found, str):
        text = found.strip()
        whole = re.fullmatch(r"(-?\d{1,9})(?:\.0{1,6})?", text, re.ASCII)
        return int(whole[1]) if whole is not None else None
    return found if isinstance(found, int) and not isinstance(found, bool) else None
