"""How many completions may be in work at once: as many as are answered without waiting for each other.

- Open: up to `in_work_max`. A stall shorter than `late_for_ms` is not an overload: what waits is answered.
- Shedding: the limit follows the delay, as a TCP window follows losses. It shrinks by a factor while answers
  are late, and grows otherwise, until nothing has been rejected for `calm_for_ms`.

Late is judged against the shortest time in which an answer was possible, so that a Kafka far away is no
overload. A late event loop counts like late answers.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from pipeline.topology.file import Admission

# More late answers of one interval than this share make it late. While shedding, the 99th percentile is kept.
LATE_SHARE_OPEN = 0.25
LATE_SHARE_SHEDDING = 0.02
SHRINK = 0.85
GROWTH = 0.03  # of the limit, each time
SHORTEST_KEPT_S = 150.0  # of each of two generations: the route to Kafka may become longer for good


class State(Enum):
    OPEN = 0
    SHEDDING = 1


class ConcurrencyLimit:
    """Call `begin` for each completion, and `adjust` every `adjust_ms`. On one event loop."""

    def __init__(self, limits: Admission, clock: Callable[[], float]) -> None:
        """`clock` in s, monotonic."""
        self._limits = limits
        self._clock = clock
        self._delay_max_s = limits.delay_max_ms / 1000
        self.state = State.OPEN
        self._limit = float(limits.in_work_max)
        self._in_work = 0
        self._answers = 0
        self._late = 0
        self._rejected = 0
        self._most_in_work = 0
        self._late_ms = 0
        self._calm_ms = 0
        self._shortest_s = [float("inf"), float("inf")]  # of this generation and of the one before
        self._turns_at_s = clock() + SHORTEST_KEPT_S

    @property
    def limit(self) -> int:
        return int(self._limit)

    @property
    def in_work(self) -> int:
        return self._in_work

    @property
    def load(self) -> float:
        """How full it is, 0 to 1."""
        return min(1.0, self._in_work / self._limit)

    def begin(self) -> Work | None:
        """Returns the work, to be ended; None: it is to be rejected."""
        if self._in_work >= self._limit:
            self._rejected += 1
            return None
        return Work(self, self._clock)

    def enter(self) -> None:
        self._in_work += 1
        if self._in_work > self._most_in_work:
            self._most_in_work = self._in_work

    def leave(self) -> None:
        self._in_work -= 1

    def answered(self, took_s: float) -> None:
        self._answers += 1
        if took_s < self._shortest_s[0]:
            self._shortest_s[0] = took_s
        if took_s - min(self._shortest_s) > self._delay_max_s:
            self._late += 1

    def adjust(self, loop_delay_s: float) -> None:
        """`loop_delay_s`: how late the event loop was when it made this call."""
        if self.state is State.OPEN:
            self._watch(self._is_late(loop_delay_s, LATE_SHARE_OPEN))
        else:
            self._shed(self._is_late(loop_delay_s, LATE_SHARE_SHEDDING))
        self._answers = self._late = self._rejected = 0
        self._most_in_work = self._in_work
        now_s = self._clock()
        if now_s >= self._turns_at_s:
            self._turns_at_s = now_s + SHORTEST_KEPT_S
            self._shortest_s = [float("inf"), self._shortest_s[0]]

    def _is_late(self, loop_delay_s: float, share_max: float) -> bool:
        return self._late > share_max * self._answers or loop_delay_s > self._delay_max_s

    def _watch(self, is_late: bool) -> None:
        self._late_ms = self._late_ms + self._limits.adjust_ms if is_late else 0
        if self._late_ms >= self._limits.late_for_ms:
            self.state = State.SHEDDING
            self._calm_ms = 0
            self._limit = max(self._limits.in_work_min, SHRINK * min(self._limit, self._most_in_work))

    def _shed(self, is_late: bool) -> None:
        limits = self._limits
        if is_late:
            self._limit = max(limits.in_work_min, self._limit * SHRINK)
        else:
            self._limit = min(limits.in_work_max, self._limit * (1 + GROWTH) + 1)
        self._calm_ms = 0 if self._rejected else self._calm_ms + limits.adjust_ms
        if self._calm_ms >= limits.calm_for_ms:
            self.state = State.OPEN
            self._late_ms = 0
            self._limit = limits.in_work_max


class Work:
    """One admitted completion: in work from its creation until `end`, but not while its client sends."""

    __slots__ = ("_begun_at_s", "_clock", "_limit")

    def __init__(self, limit: ConcurrencyLimit, clock: Callable[[], float]) -> None:
        self._limit = limit
        self._clock = clock
        limit.enter()
        self._begun_at_s = clock()

    def client_sends(self) -> float:
        """Call before the body is awaited; give the result to `client_has_sent`."""
        self._limit.leave()
        return self._clock()

    def client_has_sent(self, since_s: float) -> None:
        self._limit.enter()
        self._begun_at_s += self._clock() - since_s

    def end(self, *, accepted: bool) -> None:
        """Only accepted completions have waited for Kafka: the time of others says nothing."""
        self._limit.leave()
        if accepted:
            self._limit.answered(self._clock() - self._begun_at_s)
