"""A circuit breaker for each endpoint: one that fails costs a call now and then, instead of its share."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.topology.file import Breaker


@dataclass(slots=True)
class _Failing:
    failures: int = 0
    open_until_s: float = 0.0


class Circuits:
    """In the memory of one process. Times are of a monotonic clock."""

    def __init__(self, limits: Breaker) -> None:
        self._limits = limits
        self._failing: dict[str, _Failing] = {}

    def room(self, endpoint_id: str, in_flight_max: int, now_s: float) -> int:
        """How many calls may be in flight now: none while it is open, one after a failure."""
        failing = self._failing.get(endpoint_id)
        if failing is None:
            return in_flight_max
        return 0 if now_s < failing.open_until_s else 1

    def succeeded(self, endpoint_id: str) -> None:
        self._failing.pop(endpoint_id, None)

    def failed(self, endpoint_id: str, now_s: float) -> None:
        failing = self._failing.setdefault(endpoint_id, _Failing())
        failing.failures += 1
        if failing.failures >= self._limits.failures:
            failing.open_until_s = now_s + self._limits.open_s

    def open_at(self, now_s: float) -> int:
        return sum(now_s < failing.open_until_s for failing in self._failing.values())
