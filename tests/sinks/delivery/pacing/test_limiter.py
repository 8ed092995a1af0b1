"""The pace of one number, on a clock that the test moves."""

from __future__ import annotations

import copy
import itertools
import random
from collections import deque

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sinks.delivery.pacing.limiter import Limiter, Pace, Ticket

MESSAGES_PER_S = 8
IN_FLIGHT_MAX = 3


class FakeClock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class KeptPace(RuleBasedStateMachine):
    """Whatever the caller does, and however long marks, calls and writes take, the provider sees the
    limits kept.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.limiter: Limiter[int] = Limiter(
            pace=Pace(MESSAGES_PER_S),
            in_flight_max=IN_FLIGHT_MAX,
            queue_wait_max_s=1e9,
            clock=self.clock,
        )
        self.offered = 0
        self.waiting: deque[int] = deque()
        self.taken: list[Ticket[int]] = []
        self.called: list[int] = []
        self.arrivals: list[float] = []  # at the provider, which is the latest moment that is still possible
        self.unwritten = 0

    @rule(count=st.integers(1, 12))
    def offer(self, count: int) -> None:
        for _ in range(count):
            self.limiter.offer(self.offered)
            self.waiting.append(self.offered)
            self.offered += 1

    @rule(ticks=st.one_of(st.integers(0, 300), st.integers(0, 3000)))
    def time_passes(self, ticks: int) -> None:
        self.clock.now += ticks / 1024  # exact in binary: what is compared is the limiter, not rounding

    @rule()
    def take(self) -> None:
        tickets = self.limiter.take()
        assert [ticket.item for ticket in tickets] == [self.waiting.popleft() for _ in tickets]
        self.taken += tickets

    @precondition(lambda self: self.taken)
    @rule()
    def call_arrives_and_ends(self) -> None:
        self.called.append(self.taken.pop(0).item)
        self.arrivals.append(self.clock.now)
        self.limiter.ended()
        self.unwritten += 1

    @precondition(lambda self: self.taken)
    @rule()
    def mark_refused(self) -> None:
        self.taken.pop(0)
        self.limiter.untaken()

    @precondition(lambda self: self.taken)
    @rule()
    def provider_unreachable(self) -> None:
        self.limiter.put_back(self.taken)
        self.waiting.extendleft(reversed([ticket.item for ticket in self.taken]))
        self.taken = []

    @precondition(lambda self: self.unwritten)
    @rule()
    def result_written(self) -> None:
        self.unwritten -= 1
        self.limiter.freed()

    @invariant()
    def no_second_holds_more_than_the_limit(self) -> None:
        for first, later in zip(self.arrivals, self.arrivals[MESSAGES_PER_S:], strict=False):
            assert later - first >= 1.0

    @invariant()
    def no_more_in_flight_than_the_limit(self) -> None:
        assert self.limiter.running == len(self.taken) + self.unwritten <= IN_FLIGHT_MAX

    @invariant()
    def first_in_first_out(self) -> None:
        assert self.called == sorted(self.called)

    @invariant()
    def shows_what_is_so(self) -> None:
        assert self.limiter.queued == len(self.waiting)
        assert 0 <= self.limiter.reservoir <= MESSAGES_PER_S

    @invariant()
    def says_when_to_come_back(self) -> None:
        wait_s = self.limiter.wait_s()
        if wait_s is None:
            return
        # On copies: time that was only looked at must not have passed for the limiter.
        limiter, clock = copy.deepcopy((self.limiter, self.clock))
        clock.now += wait_s + 1e-9
        assert limiter.take()


TestPace = KeptPace.TestCase


def limiter_of(clock: FakeClock, **settings: float) -> Limiter[str]:
    return Limiter(
        pace=Pace(80),
        in_flight_max=int(settings.get("in_flight_max", 10)),
        queue_wait_max_s=settings.get("queue_wait_max_s", 300.0),
        clock=clock,
    )


@given(st.lists(st.floats(0, 0.2), max_size=300))
def test_a_full_queue_is_sent_at_the_limit_and_never_above(latencies_s: list[float]) -> None:
    clock = FakeClock()
    limiter = limiter_of(clock, in_flight_max=1)
    arrivals = []
    for position in range(len(latencies_s)):
        limiter.offer(str(position))
    for latency_s in latencies_s:
        clock.now += limiter.wait_s() or 0.0
        while not limiter.take():
            clock.now += 1e-6
        clock.now += latency_s / 2
        arrivals.append(clock.now)
        clock.now += latency_s / 2
        limiter.ended()
        limiter.freed()
    assert all(b - a >= 1.0 for a, b in zip(arrivals, arrivals[80:], strict=False))


def test_who_waited_too_long_leaves_the_queue_and_the_others_stay() -> None:
    clock = FakeClock()
    limiter = limiter_of(clock, queue_wait_max_s=300)
    limiter.offer("old")
    clock.now = 200.0
    limiter.offer("young")
    clock.now = 301.0
    assert limiter.expired() == ["old"]
    assert [ticket.item for ticket in limiter.take()] == ["young"]


def test_being_put_back_does_not_make_anybody_younger() -> None:
    clock = FakeClock()
    limiter = limiter_of(clock, queue_wait_max_s=300)
    limiter.offer("old")
    clock.now = 200.0
    limiter.put_back(limiter.take())
    clock.now = 301.0
    assert limiter.expired() == ["old"]


def test_a_pause_holds_everything_and_is_not_shortened() -> None:
    clock = FakeClock()
    limiter = limiter_of(clock)
    limiter.offer("one")
    limiter.pause_until(10.0)
    limiter.pause_until(5.0)
    clock.now = 9.0
    assert limiter.take() == []
    assert limiter.wait_s() == 1.0
    clock.now = 10.0
    assert [ticket.item for ticket in limiter.take()] == ["one"]


@given(st.integers(0, 2**32), st.lists(st.integers(1, 8 * 1024), min_size=20, max_size=60))
def test_jitter_only_slows_down_and_keeps_its_bounds(seed: int, ticks: list[int]) -> None:
    """20 a minute with a ratio of 1: 3 to 6 s between two calls, whenever the owner comes back."""
    clock = FakeClock()
    pace = Pace(1, 3.0, jitter_ratio=1.0)
    limiter: Limiter[int] = Limiter(
        pace=pace, in_flight_max=10, queue_wait_max_s=1e9, clock=clock, rng=random.Random(seed)
    )
    calls: list[float] = []
    for item, waited in enumerate(ticks):
        limiter.offer(item)
        clock.now += waited / 1024  # exact in binary
        for _ in limiter.take():
            calls.append(clock.now)
            limiter.ended()
            limiter.freed()
        due_s = limiter.wait_s()
        assert due_s is None or due_s <= 6.0 + 1e-9
    assert all(later - first >= 3.0 for first, later in itertools.pairwise(calls))


def test_jitter_is_not_a_regular_beat_and_the_same_for_a_seed() -> None:
    def beats(seed: int) -> list[float]:
        clock = FakeClock()
        limiter: Limiter[int] = Limiter(
            pace=Pace(1, 3.0, jitter_ratio=1.0),
            in_flight_max=10,
            queue_wait_max_s=1e9,
            clock=clock,
            rng=random.Random(seed),
        )
        found = []
        for item in range(50):
            limiter.offer(item)
            clock.now += limiter.wait_s() or 0.0
            assert limiter.take()
            limiter.ended()
            limiter.freed()
            found.append(clock.now)
        return [round(later - first, 6) for first, later in itertools.pairwise(found)]

    assert len(set(beats(1))) > 40
    assert beats(1) == beats(1) != beats(2)
    assert 60 / 20 <= sum(beats(1)) / 49 <= 60 / 10
