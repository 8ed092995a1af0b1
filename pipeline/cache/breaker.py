"""A circuit breaker that opens by the ratio of failures in a moving window.

The edge's circuit breaker before Kafka counts failures in a row instead: see `ingest_api.kafka`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum

from pipeline.topology.file import RatioBreaker

BUCKETS = 10  # of the window


class State(Enum):
    CLOSED = 0
    HALF_OPEN = 1  # one call is admitted
    OPEN = 2


class Breaker:
    """Opens when at least `error_ratio` of at least `calls_min` calls in `window_s` failed.

    After `open_s` it admits one call, which closes it or opens it again. Every admitted call must report
    `succeeded`, `failed` or `withdrawn`.
    """

    def __init__(self, policy: RatioBreaker, clock: Callable[[], float]) -> None:
        self._policy = policy
        self._clock = clock
        self._buckets: deque[list[int]] = deque()  # number of the bucket, calls, failures
        self._open_until_s: float | None = None
        self._trying = False

    @property
    def state(self) -> State:
        if self._open_until_s is None:
            return State.CLOSED
        return State.OPEN if self._clock() < self._open_until_s else State.HALF_OPEN

    def admits(self) -> bool:
        state = self.state
        if state is State.HALF_OPEN and not self._trying:
            self._trying = True
            return True
        return state is State.CLOSED

    def succeeded(self) -> None:
        if self._open_until_s is not None:
            if not self._trying:
                return  # a call from before it opened proves nothing now
            self._buckets.clear()
            self._open_until_s = None
            self._trying = False
        self._count(failed=False)

    def failed(self) -> None:
        if self._open_until_s is not None:
            if self._trying:
                self._open()
            return
        calls, failures = self._count(failed=True)
        if calls >= self._policy.calls_min and failures >= self._policy.error_ratio * calls:
            self._open()

    def withdrawn(self) -> None:
        """Report that the call ended without a result."""
        self._trying = False

    def _open(self) -> None:
        self._trying = False
        self._open_until_s = self._clock() + self._policy.open_s

    def _count(self, *, failed: bool) -> tuple[int, int]:
        number = int(self._clock() * BUCKETS / self._policy.window_s)
        while self._buckets and self._buckets[0][0] <= number - BUCKETS:
            self._buckets.popleft()
        if not self._buckets or self._buckets[-1][0] != number:
            self._buckets.append([number, 0, 0])
        self._buckets[-1][1] += 1
        self._buckets[-1][2] += failed
        return sum(bucket[1] for bucket in self._buckets), sum(bucket[2] for bucket in self._buckets)
