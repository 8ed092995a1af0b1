"""Percentiles of what was measured: exact, from every value."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec


class Percentiles(msgspec.Struct, frozen=True):
    """Milliseconds; None where nothing was measured. `count` is of how many values."""

    count: int
    p50: float | None
    p99: float | None
    max: float | None


def percentiles_ms(seconds: Sequence[float]) -> Percentiles:
    """Nearest rank: the p-th percentile is a value that was measured, and p % are not above it."""
    if not seconds:
        return Percentiles(0, None, None, None)
    ordered = sorted(seconds)

    def at(percent: float) -> float:
        return round(1000 * ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)], 2)

    return Percentiles(len(ordered), at(50), at(99), at(100))
