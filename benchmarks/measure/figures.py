"""Figures of many values: exact percentiles of one run, the spread over several rounds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median

import msgspec

from pipeline.errors import CannotStart


class Percentiles(msgspec.Struct, frozen=True):
    """Milliseconds; None where nothing was measured. `count`: number of values."""

    count: int
    p50: float | None
    p99: float | None
    max: float | None


def percentiles_ms(seconds: Sequence[float]) -> Percentiles:
    """Nearest rank: the p-th percentile is a measured value; at least p % of the values are not above it."""
    if not seconds:
        return Percentiles(0, None, None, None)
    ordered = sorted(seconds)

    def at(percent: float) -> float:
        return round(1000 * ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)], 2)

    return Percentiles(len(ordered), at(50), at(99), at(100))


class Spread(msgspec.Struct, frozen=True):
    """Over rounds."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(round(median(values), 2), round(min(values), 2), round(max(values), 2))


def spreads(rounds: Sequence[Mapping[str, float]]) -> dict[str, Spread]:
    """Of each name that the first round holds."""
    return {name: Spread.of([one[name] for one in rounds]) for name in rounds[0]}


def sizes(text: str) -> list[int]:
    """Whole numbers separated by commas, also as 5e6. Raises CannotStart."""
    try:
        numbers = [int(float(part)) for part in text.split(",") if part.strip()]
    except (ValueError, OverflowError):
        numbers = [0]
    if any(number < 1 for number in numbers):
        raise CannotStart(f"{text!r} is not a list of numbers from 1, separated by commas")
    return sorted(set(numbers))
