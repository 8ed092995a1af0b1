"""How long to wait before the same thing is tried again."""

from __future__ import annotations

import random
from dataclasses import dataclass, field


@dataclass
class Backoff:
    """Doubles from `first_s` to `longest_s`, each time with up to `jitter_ratio` more, so that many that lost
    the same server do not come back together."""

    first_s: float = 0.1
    longest_s: float = 10.0
    jitter_ratio: float = 0.2
    rng: random.Random = field(default_factory=random.Random)
    _failures: int = field(default=0, init=False)

    def after_failure_s(self) -> float:
        """Seconds to wait now; longer each time until `after_success`."""
        # Bounded: two to the power of a day's failures is no float.
        wait_s = min(self.longest_s, self.first_s * 2.0 ** min(self._failures, 30))
        self._failures += 1
        return wait_s * (1 + self.jitter_ratio * self.rng.random())

    def after_success(self) -> None:
        self._failures = 0
