"""The circuit breaker opens by the ratio of failures, and closes by one success."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.cache.breaker import BUCKETS, Breaker
from pipeline.topology.file import RatioBreaker

POLICY = RatioBreaker(timeout_s=3, error_ratio=0.5, calls_min=4, window_s=10, open_s=30)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def breaker() -> tuple[Breaker, Clock]:
    clock = Clock()
    return Breaker(POLICY, clock), clock


def fail(one: Breaker, times: int) -> None:
    for _ in range(times):
        assert one.admits()
        one.failed()


def test_half_of_the_calls_must_fail_and_there_must_be_enough_of_them() -> None:
    one, _ = breaker()
    fail(one, 3)
    assert one.state.name == "CLOSED"
    one.failed()
    assert one.state.name == "OPEN"
    assert not one.admits()


def test_fewer_failures_than_the_ratio_leave_it_closed() -> None:
    one, _ = breaker()
    for _ in range(100):
        one.succeeded()
        one.succeeded()
        one.failed()
    assert one.state.name == "CLOSED"


def test_failures_are_forgotten_with_the_window() -> None:
    one, clock = breaker()
    fail(one, 3)
    clock.now_s += POLICY.window_s + 1
    fail(one, 3)
    assert one.state.name == "CLOSED"


def test_after_a_while_one_call_is_admitted_and_decides() -> None:
    one, clock = breaker()
    fail(one, 4)
    clock.now_s += POLICY.open_s
    assert one.state.name == "HALF_OPEN"
    assert one.admits()
    assert not one.admits()
    one.failed()
    assert one.state.name == "OPEN"
    clock.now_s += POLICY.open_s
    assert one.admits()
    one.succeeded()
    assert one.state.name == "CLOSED"
    fail(one, 2)
    assert one.state.name == "CLOSED", "what came before it opened does not count any more"


def test_a_call_without_a_result_leaves_the_place_to_the_next() -> None:
    one, clock = breaker()
    fail(one, 4)
    clock.now_s += POLICY.open_s
    assert one.admits()
    one.withdrawn()
    assert one.admits()


def test_a_late_success_of_an_old_call_does_not_close_it() -> None:
    one, _ = breaker()
    assert one.admits()
    fail(one, 4)
    one.succeeded()
    assert one.state.name == "OPEN"


@given(st.lists(st.tuples(st.floats(0, 4), st.booleans()), max_size=80))
def test_it_opens_exactly_when_the_window_says_so(calls: list[tuple[float, bool]]) -> None:
    """Against a list of all calls; the window moves by tenths of its length."""
    one, clock = breaker()
    history: list[tuple[int, bool]] = []  # tenth, and whether it failed
    for wait_s, fails in calls:
        clock.now_s += wait_s
        is_trial = not one.admits()
        if is_trial:
            clock.now_s += POLICY.open_s
            history.clear()
            assert one.admits()
        tenth = int(clock.now_s * BUCKETS / POLICY.window_s)
        if not (is_trial and fails):
            history.append((tenth, fails))
        one.failed() if fails else one.succeeded()
        recent = [failed for at, failed in history if at > tenth - BUCKETS]
        over = len(recent) >= POLICY.calls_min and sum(recent) >= POLICY.error_ratio * len(recent)
        assert (one.state.name == "OPEN") == (fails and (over or is_trial))
