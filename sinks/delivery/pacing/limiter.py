"""One number's pace: messages in a window, calls in flight, first in first out. Pure: time comes from the
given clock.

A place in the rate window is taken when an item is handed out and given back one window after its call
*ended*. The provider saw the call somewhere in between, so that no window on the provider's clock holds
more than the limit, however long the mark or the network took.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")

ROUNDING = 1e-6  # of a message: 1.5 a second for 2 s are three


@dataclass(frozen=True, slots=True)
class Pace:
    """At most `messages_max` calls in any `window_s` seconds.

    With `jitter_ratio` each call keeps its place in the window longer, by a random part of it up to this
    ratio: never faster, and not in a regular beat.
    """

    messages_max: int
    window_s: float = 1.0
    jitter_ratio: float = 0.0

    @classmethod
    def per_minute(cls, messages: int) -> Pace:
        """Evenly spread: 15 a minute is one in 4 s, 150 a minute two in 0.8 s."""
        at_once = max(1, messages // 60)
        return cls(at_once, at_once * 60 / messages)

    @property
    def per_s(self) -> float:
        return self.messages_max / self.window_s


@dataclass(frozen=True, slots=True)
class Ticket(Generic[Item]):
    """An item with the time since which it waits."""

    offered_at: float
    item: Item


class Limiter(Generic[Item]):
    """A queue that hands out what may be called now.

    Obligation of the caller: every ticket from `take` is followed by one `untaken` or `put_back` (it was
    not called), or by one `ended` when its call is over and then one `freed` when the result is durable.
    """

    def __init__(
        self,
        *,
        pace: Pace,
        in_flight_max: int,
        queue_wait_max_s: float,
        clock: Callable[[], float],
        rng: random.Random | None = None,
    ) -> None:
        """`rng` decides the jitter; without it there is none."""
        self.pace = pace
        self.in_flight_max = in_flight_max
        self.queue_wait_max_s = queue_wait_max_s
        self._clock = clock
        self._rng = rng
        self._queue: deque[Ticket[Item]] = deque()
        self._open = 0  # handed out, call not over
        self._unwritten = 0  # call over, result not durable
        self._free_at: list[float] = []  # heap: when the places of ended calls are free again
        self._paused_until = float("-inf")
        self._held_until = float("-inf")

    @property
    def queued(self) -> int:
        return len(self._queue)

    @property
    def running(self) -> int:
        """Places in flight that are taken: marked, called, or waiting for their result to be durable."""
        return self._open + self._unwritten

    @property
    def reservoir(self) -> int:
        """How many calls the rate window has room for now."""
        self._forget(self._clock())
        return self.pace.messages_max - len(self._free_at) - self._open

    def openings(self, within_s: float) -> int:
        """How many more calls the pace lets begin within that time, whatever is queued."""
        now = self._clock()
        end = now + within_s
        open_s = end - max(now, self._resumes_at)
        if open_s <= 0:
            return 0
        if open_s >= self.pace.window_s:
            return math.floor(self.pace.per_s * open_s + ROUNDING)
        recent = sum(at > end for at in self._free_at)
        free = max(0, self.pace.messages_max - recent - self._open)
        return min(free, math.ceil(self.pace.per_s * open_s))

    def offer(self, item: Item) -> None:
        self._queue.append(Ticket(self._clock(), item))

    def take(self) -> list[Ticket[Item]]:
        """The items that may be marked and called now, oldest first."""
        now = self._clock()
        if self.paused:
            return []
        self._forget(now)
        room = min(
            self.in_flight_max - self.running,
            self.pace.messages_max - len(self._free_at) - self._open,
            len(self._queue),
        )
        taken = [self._queue.popleft() for _ in range(max(room, 0))]
        self._open += len(taken)
        return taken

    def untaken(self, count: int = 1) -> None:
        """`count` tickets from `take` were not called and left the queue."""
        assert 0 <= count <= self._open
        self._open -= count

    def put_back(self, tickets: Sequence[Ticket[Item]]) -> None:
        """Tickets from `take`, in its order, were not called: first in the queue again, waiting since
        before.
        """
        self.untaken(len(tickets))
        self._queue.extendleft(reversed(tickets))

    def ended(self) -> None:
        """One call is over."""
        assert self._open > 0
        self._open -= 1
        self._unwritten += 1
        kept_s = self.pace.window_s
        if self._rng is not None and self.pace.jitter_ratio > 0:
            kept_s *= 1 + self._rng.uniform(0, self.pace.jitter_ratio)
        heapq.heappush(self._free_at, self._clock() + kept_s)

    def freed(self) -> None:
        """One ended call's result is durable."""
        assert self._unwritten > 0
        self._unwritten -= 1

    def pause_until(self, at: float) -> None:
        """Hand out nothing before `at` (the clock's seconds); an earlier time does not shorten a pause."""
        self._paused_until = max(self._paused_until, at)

    def hold_until(self, at: float) -> None:
        """As `pause_until`, for a pause that others decide: each call replaces the one before."""
        self._held_until = at

    @property
    def paused(self) -> bool:
        return self._clock() < self._resumes_at

    @property
    def _resumes_at(self) -> float:
        return max(self._paused_until, self._held_until)

    def expired(self) -> list[Item]:
        """Items that waited longer than `queue_wait_max_s`: no longer queued here."""
        oldest = self._clock() - self.queue_wait_max_s
        out = []
        while self._queue and self._queue[0].offered_at < oldest:
            out.append(self._queue.popleft().item)
        return out

    def drain(self) -> list[Item]:
        """Everything still queued: no longer queued here."""
        out = [ticket.item for ticket in self._queue]
        self._queue.clear()
        return out

    def wait_s(self) -> float | None:
        """Seconds until `take` may give something; None where only an offer or a call's end can change
        that.
        """
        now = self._clock()
        self._forget(now)
        if not self._queue or self.running >= self.in_flight_max:
            return None
        if now < self._resumes_at:
            return self._resumes_at - now
        if len(self._free_at) + self._open < self.pace.messages_max:
            return 0.0
        return max(self._free_at[0] - now, 0.0) if self._free_at else None

    def _forget(self, now: float) -> None:
        while self._free_at and self._free_at[0] <= now:
            heapq.heappop(self._free_at)
