"""Finds the number ranges that hold a number: logarithmic in the ranges, linear in the result."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Range = tuple[float, float, Item]  # closed, low <= high; either end may be infinite, not both


class Intervals(Generic[Item]):
    """A centred interval tree: ranges that hold the centre stay here, the others go left or right."""

    __slots__ = ("_by_high", "_by_low", "_centre", "_highs", "_left", "_lows", "_right")

    def __init__(self, ranges: Sequence[Range[Item]]) -> None:
        """At least one range."""
        ends = sorted(end for low, high, _ in ranges for end in (low, high) if abs(end) != float("inf"))
        self._centre = centre = ends[len(ends) // 2]
        here = [r for r in ranges if r[0] <= centre <= r[1]]
        left = [r for r in ranges if r[1] < centre]
        right = [r for r in ranges if r[0] > centre]
        here.sort(key=lambda r: r[0])
        self._lows = [r[0] for r in here]
        self._by_low = [r[2] for r in here]
        here.sort(key=lambda r: r[1])
        self._highs = [r[1] for r in here]
        self._by_high = [r[2] for r in here]
        self._left: Intervals[Item] | None = Intervals(left) if left else None
        self._right: Intervals[Item] | None = Intervals(right) if right else None

    def holding(self, number: float) -> list[Item]:
        """Items whose range holds `number`, in no particular order."""
        found: list[Item] = []
        node: Intervals[Item] | None = self
        while node is not None:
            if number < node._centre:
                found += node._by_low[: bisect_right(node._lows, number)]
                node = node._left
            elif number > node._centre:
                found += node._by_high[bisect_left(node._highs, number) :]
                node = node._right
            else:
                found += node._by_low
                break
        return found
