"""The limit in virtual time: a server that works through one completion after another, at constant rates."""

from __future__ import annotations

import heapq
import statistics
from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest_api.admission.concurrency import ConcurrencyLimit, State, Work
from pipeline.topology.file import Admission

LIMITS = Admission(
    delay_max_ms=50, in_work_min=64, in_work_max=2000, adjust_ms=100, late_for_ms=500, calm_for_ms=5000
)


@dataclass
class Edge:
    """Work of `cost_s` a completion, one at a time, and then `away_s` at Kafka, all at once."""

    cost_s: float
    away_s: float
    now_s: float = 0.0
    accepted: int = 0
    rejected: int = 0
    latencies_s: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.limit = ConcurrencyLimit(LIMITS, lambda: self.now_s)
        self._free_at_s = 0.0
        self._away: list[tuple[float, int, float, Work]] = []
        self._offered = 0
        self._adjust_at_s = LIMITS.adjust_ms / 1000

    def offer(self, rate_per_s: float, seconds: float) -> None:
        end_s = self.now_s + seconds
        due_s = self.now_s
        while due_s < end_s:
            self._pass_to(due_s)
            self._offered += 1
            work = self.limit.begin()
            if work is not None:
                self._free_at_s = max(self._free_at_s, due_s) + self.cost_s
                heapq.heappush(self._away, (self._free_at_s + self.away_s, self._offered, due_s, work))
            else:
                self.rejected += 1
            due_s += 1 / rate_per_s
        self._pass_to(end_s)

    def stall(self, seconds: float) -> None:
        self._free_at_s = max(self._free_at_s, self.now_s) + seconds

    def _pass_to(self, at_s: float) -> None:
        while True:
            answered_s = self._away[0][0] if self._away else float("inf")
            next_s = min(answered_s, self._adjust_at_s)
            if next_s > at_s:
                break
            self.now_s = next_s
            if next_s == answered_s:
                _, _, due_s, work = heapq.heappop(self._away)
                work.end(accepted=True)
                self.accepted += 1
                self.latencies_s.append(next_s - due_s)
            else:
                self.limit.adjust(0.0)
                self._adjust_at_s += LIMITS.adjust_ms / 1000
        self.now_s = at_s

    def measure(self, rate_per_s: float, seconds: float) -> tuple[float, float]:
        """Accepted a second, and the 99th percentile of their times in s."""
        before = self.accepted
        self.latencies_s = []
        self.offer(rate_per_s, seconds)
        return (self.accepted - before) / seconds, statistics.quantiles(self.latencies_s, n=100)[98]


@pytest.mark.parametrize("times", [1.1, 1.5, 3.0, 10.0])
def test_in_an_overload_what_is_accepted_is_answered_in_time_and_the_capacity_is_used(times: float) -> None:
    edge = Edge(cost_s=0.0005, away_s=0.015)  # 2,000/s
    edge.offer(1_600, 5)
    edge.offer(2_000 * times, 10)  # until the limit has settled
    accepted_per_s, p99_s = edge.measure(2_000 * times, 60)
    assert accepted_per_s > 0.95 * 2_000
    assert p99_s < 0.1
    assert edge.rejected > 0


def test_below_the_capacity_nothing_is_rejected() -> None:
    edge = Edge(cost_s=0.0005, away_s=0.015)
    edge.offer(1_800, 60)
    assert edge.rejected == 0


def test_a_kafka_far_away_is_no_overload() -> None:
    edge = Edge(cost_s=0.0001, away_s=0.4)
    edge.offer(2_000, 60)
    assert edge.rejected == 0


def test_after_an_overload_the_limit_grows_again() -> None:
    edge = Edge(cost_s=0.0005, away_s=0.015)
    states = []
    for rate_per_s, seconds in ((6_000, 30), (1_600, 10)):
        edge.offer(rate_per_s, seconds)
        states.append(edge.limit.state)
    assert states == [State.SHEDDING, State.OPEN]
    rejected = edge.rejected
    edge.offer(1_800, 30)
    assert edge.rejected == rejected


@pytest.mark.parametrize("times", [4, 5])
def test_a_late_event_loop_is_an_overload_only_after_a_while(times: int) -> None:
    limit = ConcurrencyLimit(LIMITS, lambda: 0.0)
    for _ in range(times):
        limit.adjust(0.2)
    assert (limit.state is State.SHEDDING) == (times * LIMITS.adjust_ms >= LIMITS.late_for_ms)
    assert limit.limit == (LIMITS.in_work_min if times == 5 else LIMITS.in_work_max)


def test_a_stall_is_no_overload() -> None:
    """0.4 s in which nothing is answered, every 2 s: what has waited is late and is answered."""
    edge = Edge(cost_s=0.0002, away_s=0.015)
    for _ in range(20):
        edge.offer(1_500, 2)
        edge.stall(0.4)
    assert (edge.rejected, edge.limit.state) == (0, State.OPEN)


def test_clients_that_send_slowly_take_no_place_and_are_not_late() -> None:
    now = [0.0]
    limit = ConcurrencyLimit(LIMITS, lambda: now[0])
    quick, *works = [_begun(limit) for _ in range(6)]
    now[0] += 0.01
    quick.end(accepted=True)
    since = deque(work.client_sends() for work in works)
    assert limit.in_work == 0
    now[0] += 20.0
    for work in works:
        work.client_has_sent(since.popleft())
    assert limit.in_work == 5
    now[0] += 0.01
    for work in works:
        work.end(accepted=True)
    for _ in range(5):
        limit.adjust(0.0)
    assert (limit.in_work, limit.state) == (0, State.OPEN)


def _begun(limit: ConcurrencyLimit) -> Work:
    work = limit.begin()
    assert work is not None
    return work


@given(st.lists(st.tuples(st.sampled_from(["begin", "end", "adjust"]), st.floats(0, 0.5)), max_size=200))
@settings(max_examples=200)
def test_whatever_happens_the_limit_keeps_its_bounds(steps: list[tuple[str, float]]) -> None:
    now_s = 0.0
    limit = ConcurrencyLimit(LIMITS, lambda: now_s)
    works: list[Work] = []
    for step, value in steps:
        now_s += value
        if step == "begin":
            work = limit.begin()
            assert (work is None) == (limit.in_work == len(works) >= limit.limit)
            works += [] if work is None else [work]
        elif step == "end" and works:
            works.pop(0).end(accepted=value < 0.4)
        elif step == "adjust":
            limit.adjust(value)
        assert limit.in_work == len(works)
        assert LIMITS.in_work_min <= limit.limit <= LIMITS.in_work_max
        assert 0.0 <= limit.load <= 1.0
