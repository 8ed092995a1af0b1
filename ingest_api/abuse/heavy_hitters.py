"""Which names come often, in bounded memory: a frequent-items sketch, in two generations."""

from __future__ import annotations

from collections.abc import Callable

import datasketches

GENERATION_S = 60.0
MAP_SIZE_LOG2 = 13  # counters of a generation: 8,192


class HeavyHitters:
    """Counts of the last one to two minutes; `add` returns what a name has at least."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._young = self._old = _sketch()
        self._turns_at_s = clock() + GENERATION_S

    def add(self, name: str, count: int) -> int:
        if self._clock() >= self._turns_at_s:
            self._old, self._young = self._young, _sketch()
            self._turns_at_s = self._clock() + GENERATION_S
        self._young.update(name, count)
        found = self._young.get_lower_bound(name)
        if self._old is not self._young:
            found += self._old.get_lower_bound(name)
        return int(found)


def _sketch() -> datasketches.frequent_strings_sketch:
    return datasketches.frequent_strings_sketch(MAP_SIZE_LOG2)
