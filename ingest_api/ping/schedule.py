"""When clients ping next: spread so that any number of them makes a flat rate, later under load."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.topology.file import Ping as Limits

SLOT_S = 1  # the rate is flat from one second to the next


class PingSchedule:
    """Books the second of each client's next ping: the one at the interval, unless it has its share already.

    Then the less booked one of two at random, half to one and a half intervals ahead. Random intervals alone
    would let clients that begin together come together again for several rounds. Memory: one integer for each
    second of one and a half of the longest intervals. Not safe for threads.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float], uniform: Callable[[], float]) -> None:
        """`clock` in s, monotonic; `uniform` returns random numbers of [0, 1)."""
        self._limits = limits
        self._clock = clock
        self._uniform = uniform
        self._bookings = [0] * (3 * limits.interval_max_s // (2 * SLOT_S) + 2)
        self._booked = 0
        self._free_to = int(clock() // SLOT_S)

    def next_in_s(self, load: float) -> float:
        """Seconds until the client is to ping again; the interval grows with `load`, 0 idle to 1 full."""
        now_s = self._clock()
        self._free(int(now_s // SLOT_S))
        limits, uniform = self._limits, self._uniform
        share = min(max(load, 0.0), 1.0)
        interval_s = limits.interval_s + share * (limits.interval_max_s - limits.interval_s)
        at_s = now_s + interval_s
        if self._at(at_s) * interval_s >= self._booked * SLOT_S:
            one_s, other_s = (now_s + interval_s * (0.5 + uniform()) for _ in range(2))
            at_s = one_s if self._at(one_s) <= self._at(other_s) else other_s
        self._bookings[self._slot(at_s)] += 1
        self._booked += 1
        return at_s - now_s

    @property
    def longest_s(self) -> float:
        return self._limits.interval_max_s

    @property
    def booked(self) -> int:
        """How many pings are expected: about one of each client."""
        return self._booked

    def _slot(self, at_s: float) -> int:
        return int(at_s // SLOT_S) % len(self._bookings)

    def _at(self, at_s: float) -> int:
        return self._bookings[self._slot(at_s)]

    def _free(self, now: int) -> None:
        """Forgets the bookings of the seconds that have passed."""
        for passed in range(max(self._free_to, now - len(self._bookings)), now):
            slot = passed % len(self._bookings)
            self._booked -= self._bookings[slot]
            self._bookings[slot] = 0
        self._free_to = max(self._free_to, now)
