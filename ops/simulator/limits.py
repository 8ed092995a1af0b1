"""The provider's limits, exact: a sliding second per number, a debt per pair of number and recipient.
Pure.
"""

from __future__ import annotations

from collections import OrderedDict, deque

WINDOW_S = 1.0


class NumberRate:
    """At most `messages_per_s` calls in every second of each number."""

    def __init__(self) -> None:
        self._recent: dict[str, deque[float]] = {}

    def admit(self, number: str, at: float, messages_per_s: int) -> bool:
        """Counts the call if it is admitted."""
        recent = self._recent.setdefault(number, deque())
        while recent and recent[0] <= at - WINDOW_S:
            recent.popleft()
        if len(recent) >= messages_per_s:
            return False
        recent.append(at)
        return True


class PairRate:
    """One message each `interval_s`, or a burst that is borrowed from the future and paid back at that
    rate.
    """

    def __init__(self, pairs_max: int) -> None:
        self._pairs_max = pairs_max
        self._paid_at: OrderedDict[tuple[str, str], float] = (
            OrderedDict()
        )  # when the debt is paid, oldest use first

    def admit(self, number: str, to: str, at: float, interval_s: float, burst: int) -> bool:
        """Counts the call if it is admitted."""
        pair = (number, to)
        paid_at = max(self._paid_at.pop(pair, at), at)
        admitted = paid_at - at <= interval_s * (burst - 1) + 1e-9
        self._paid_at[pair] = paid_at + interval_s if admitted else paid_at
        while len(self._paid_at) > self._pairs_max:
            self._paid_at.popitem(last=False)
        return admitted
