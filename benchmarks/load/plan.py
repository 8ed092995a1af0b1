"""A constant load and how long it is measured."""

from __future__ import annotations

import msgspec

from benchmarks.load.generator import Constant

# The brokers' compiler takes a third of a core for most of a minute after their start.
WARM_UP_S = 60.0


class Plan(msgspec.Struct, frozen=True):
    rate_per_s: float
    seconds: float
    matching_percent: int = 10
    warm_up_s: float = WARM_UP_S

    @property
    def pace(self) -> Constant:
        warm_up = int(self.rate_per_s * self.warm_up_s)
        return Constant(self.rate_per_s, warm_up + int(self.rate_per_s * self.seconds))
