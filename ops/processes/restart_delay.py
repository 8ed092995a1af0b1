"""How long to wait before a process that ended is started again."""

from __future__ import annotations

FIRST_S = 0.5
LONGEST_S = 30.0
HEALTHY_AFTER_S = 30.0  # a process that ran this long starts again with the first delay


class Backoff:
    """Doubles from `first_s` to `longest_s`; begins anew after a run of `healthy_after_s`."""

    def __init__(
        self, first_s: float = FIRST_S, longest_s: float = LONGEST_S, healthy_after_s: float = HEALTHY_AFTER_S
    ) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._healthy_after_s = healthy_after_s
        self._next_s = first_s

    def after_run(self, lasted_s: float) -> float:
        """The delay in seconds before the next start, given how long the run that ended has lasted."""
        if lasted_s >= self._healthy_after_s:
            self._next_s = self._first_s
        delay_s = self._next_s
        self._next_s = min(self._next_s * 2, self._longest_s)
        return delay_s
