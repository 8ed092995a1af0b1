"""The wait before the retry of something that failed: the one back-off of every process."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

DOUBLINGS_MAX = 30  # bounds the exponent: two to the power of a day's failures is not a float


@dataclass(slots=True)
class Backoff:
    """Doubles from `first_s` to `longest_s`, each time with up to `jitter_ratio` more.

    The jitter keeps clients that lost the same server from coming back together. For one sequence of tries;
    not for several threads at once.
    """

    first_s: float = 0.1
    longest_s: float = 10.0
    jitter_ratio: float = 0.2
    rng: random.Random = field(default_factory=random.Random)
    _failures: int = field(default=0, init=False)

    def after_failure_s(self) -> float:
        """Seconds to wait now; longer each time until `after_success`."""
        wait_s = min(self.longest_s, self.first_s * 2.0 ** min(self._failures, DOUBLINGS_MAX))
        self._failures += 1
        return wait_s * (1 + self.jitter_ratio * self.rng.random())

    def after_success(self) -> None:
        self._failures = 0
