from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ingest_api.kafka.circuit_breaker import CircuitBreaker, State

FAILURES_MAX = 3


def test_it_opens_at_the_third_failure_in_a_row_and_says_so_once() -> None:
    breaker = CircuitBreaker(FAILURES_MAX)
    assert [breaker.failed() for _ in range(5)] == [False, False, True, False, False]
    assert not breaker.admits()


def test_a_success_between_forgets_the_failures() -> None:
    breaker = CircuitBreaker(FAILURES_MAX)
    for _ in range(FAILURES_MAX * 2):
        breaker.failed()
        breaker.succeeded()
    assert breaker.state is State.CLOSED


def test_half_open_lets_one_through_and_its_failure_opens_at_once() -> None:
    breaker = CircuitBreaker(FAILURES_MAX)
    breaker.open()
    breaker.reached()
    assert [breaker.admits(), breaker.admits()] == [True, False]
    assert breaker.failed()
    assert breaker.state is State.OPEN


class AnyOrder(RuleBasedStateMachine):
    """Reports come in any order, also of requests from before it opened."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = CircuitBreaker(FAILURES_MAX)
        self.out = 0
        self.in_a_row = 0
        self.tried_half_open = 0

    @rule()
    def ask(self) -> None:
        before = self.breaker.state
        admitted = self.breaker.admits()
        self.out += admitted
        if before is State.CLOSED:
            assert admitted
        if before is State.OPEN:
            assert not admitted
        if before is State.HALF_OPEN:
            self.tried_half_open += admitted
            assert self.tried_half_open <= 1

    @precondition(lambda self: self.out > 0)
    @rule(report=st.sampled_from(["succeeded", "failed", "withdrawn"]))
    def report(self, report: str) -> None:
        self.out -= 1
        before = self.breaker.state
        getattr(self.breaker, report)()
        if report == "succeeded":
            self.in_a_row = 0
            assert self.breaker.state is State.CLOSED
        if report == "failed" and before is not State.OPEN:
            self.in_a_row += 1
            if self.in_a_row >= FAILURES_MAX or before is State.HALF_OPEN:
                assert self.breaker.state is State.OPEN
        if report == "withdrawn":
            assert self.breaker.state is before
        self.tried_half_open = 0

    @rule()
    def reached(self) -> None:
        if self.breaker.state is State.OPEN:
            self.tried_half_open = 0
        self.breaker.reached()
        assert self.breaker.state is not State.OPEN

    @invariant()
    def closed_means_few_failures(self) -> None:
        if self.breaker.state is State.CLOSED:
            assert self.in_a_row < FAILURES_MAX


TestAnyOrder = AnyOrder.TestCase
