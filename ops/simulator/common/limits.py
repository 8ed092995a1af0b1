"""The provider's limits, exact: a sliding second per number, a debt per pair of number and recipient, the
24 hours after a person's message, and the people whom a portfolio has written to in 24 hours. Pure.
"""

from __future__ import annotations

from collections import OrderedDict, deque

WINDOW_S = 1.0


class NumberRate:
    """At most so many calls in every window of each number."""

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._recent: dict[str, deque[float]] = {}

    def admit(self, number: str, at: float, messages_max: int) -> bool:
        """Counts the call if it is admitted."""
        recent = self._recent.setdefault(number, deque())
        while recent and recent[0] <= at - self._window_s:
            recent.popleft()
        if len(recent) >= messages_max:
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


class ServiceWindows:
    """Who has written to which number within `window_s`."""

    def __init__(self, window_s: float, windows_max: int) -> None:
        self._window_s = window_s
        self._windows_max = windows_max
        self._written_at: OrderedDict[tuple[str, str], float] = OrderedDict()  # the oldest message first

    def wrote(self, number: str, sender: str, at: float) -> None:
        self._written_at[number, sender] = at
        self._written_at.move_to_end((number, sender))
        while len(self._written_at) > self._windows_max:
            self._written_at.popitem(last=False)

    def is_open(self, number: str, to: str, at: float) -> bool:
        written_at = self._written_at.get((number, to))
        return written_at is not None and at - written_at < self._window_s


class PortfolioLimit:
    """At most so many different people in every `window_s`, of all numbers together.

    A person counts from their last message in it: whoever was written to again stays.
    """

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._people: OrderedDict[str, float] = OrderedDict()  # the oldest message first

    def admit(self, to: str, at: float, people_max: int) -> bool:
        """Counts the person if they are admitted."""
        while self._people and next(iter(self._people.values())) <= at - self._window_s:
            self._people.popitem(last=False)
        if to not in self._people and len(self._people) >= people_max:
            return False
        self._people[to] = at
        self._people.move_to_end(to)
        return True
