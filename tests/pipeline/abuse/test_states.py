"""Who is judged moves only as the table says; time and operators have the last word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.abuse.states import (
    TRANSITIONS,
    Cause,
    NotAllowed,
    State,
    Verdict,
    follow,
    judged,
    merged,
    stricter,
)
from tests.support.abuse_world import ABUSE, BEGAN_MS

ADDRESS, NETWORK, QUIZ = "address:00", "network:00", "quiz:q"
SIGNALS = ("alike", "neighbours", "repeats", "invalid", "unanswered", "pressed", "flooded", "phones")
POINTS = st.dictionaries(st.sampled_from(SIGNALS), st.floats(0, 300))
BEFORE = st.none() | st.builds(
    lambda state, left_s: Verdict(ADDRESS, state, BEGAN_MS, BEGAN_MS + left_s * 1000, Cause.SCORE),
    st.sampled_from([state for state in State if state is not State.CLEAR]),
    st.integers(-10, 1_000),
)


def judge(before: Verdict | None, points: dict[str, float], now_ms: int = BEGAN_MS) -> Verdict | None:
    return judged(before, ADDRESS, "", points, ABUSE, now_ms)


def test_the_table_has_every_state_and_cause() -> None:
    assert set(TRANSITIONS) == {(state, cause) for state in State for cause in Cause}
    assert TRANSITIONS[State.RELEASED, Cause.SCORE] == frozenset()
    from_scores = [state for state in State if State.BLOCKED in TRANSITIONS[state, Cause.SCORE]]
    assert from_scores == [State.CHALLENGED, State.BLOCKED], "nothing is blocked that was not challenged"


@given(BEFORE, POINTS)
def test_a_score_makes_only_transitions_of_the_table_and_none_weaker(
    before: Verdict | None, points: dict[str, float]
) -> None:
    now = State.CLEAR if before is None else before.state_at(BEGAN_MS)
    found = judge(before, points)
    if found is not None:
        assert found.state in TRANSITIONS[now, Cause.SCORE]
        assert stricter(now, found.state) is found.state
        assert found.until_ms > BEGAN_MS


@pytest.mark.parametrize("state", list(State))
def test_an_operator_may_always_block_and_release_and_nothing_else(state: State) -> None:
    before = Verdict(ADDRESS, state, BEGAN_MS, BEGAN_MS + 60_000, Cause.SCORE)

    def decide(wanted: State) -> Verdict:
        return follow(before, wanted, Cause.OPERATOR, named=ADDRESS, sealed="", now_ms=BEGAN_MS, lasts_s=60)

    assert decide(State.RELEASED).state is State.RELEASED
    assert decide(State.BLOCKED).blocks == 1
    with pytest.raises(NotAllowed):
        decide(State.CHALLENGED)


def test_an_address_is_delayed_then_challenged_and_blocked_if_that_did_not_help() -> None:
    def state(before: Verdict | None = None, **points: float) -> State | None:
        found = judge(before, points)
        return None if found is None else found.state

    assert state(alike=24.0) is None
    assert state(alike=49.0) is State.DELAYED
    assert state(invalid=1_000.0, pressed=75.0, unanswered=500.0) is State.CHALLENGED
    before = challenged()
    assert state(before, invalid=1_000.0, pressed=75.0, unanswered=24.0) is not State.BLOCKED
    assert state(before, pressed=75.0, unanswered=25.0) is State.BLOCKED
    assert state(before, alike=50.0, solved=50.0) is State.BLOCKED


def challenged() -> Verdict:
    found = judge(None, {"pressed": 50.0})
    assert found is not None
    assert found.state is State.CHALLENGED
    return found


def test_a_block_is_passed_by_tickets_until_what_comes_with_them_is_no_better() -> None:
    block = judge(challenged(), {"invalid": 75.0, "unanswered": 25.0, "solved": 99.0})
    assert block is not None
    assert block.passed_by_tickets
    assert judge(block, {"invalid": 900.0, "unanswered": 900.0, "solved": 99.0}) is None
    harder = judge(block, {"solved": 100.0})
    assert harder is not None
    assert not harder.passed_by_tickets
    assert judge(harder, {"solved": 900.0}) is None
    operators = follow(
        None, State.BLOCKED, Cause.OPERATOR, named=ADDRESS, sealed="", now_ms=BEGAN_MS, lasts_s=60
    )
    assert not operators.passed_by_tickets
    assert judge(operators, {"solved": 900.0}) is None


VERDICTS = st.builds(
    lambda state, since_s, lasts_s, *rest: Verdict(
        ADDRESS, state, BEGAN_MS + since_s * 1000, BEGAN_MS + (since_s + lasts_s) * 1000, *rest
    ),
    st.sampled_from([state for state in State if state is not State.CLEAR]),
    st.integers(-100, 0),
    st.integers(1, 200),
    st.sampled_from([Cause.SCORE, Cause.OPERATOR]),
    st.dictionaries(st.sampled_from(["alike", "solved"]), st.floats(0, 300), max_size=2),
    st.integers(0, 3),
)


@given(VERDICTS, VERDICTS, VERDICTS)
def test_verdicts_made_apart_are_merged_in_any_order(one: Verdict, other: Verdict, third: Verdict) -> None:
    def both(a: Verdict, b: Verdict) -> Verdict:
        return merged(a, b, BEGAN_MS)

    assert both(one, one) == one
    assert both(one, other) == both(other, one)
    assert both(both(one, other), third) == both(one, both(other, third))
    holds = both(one, other)
    in_force = [each for each in (one, other) if each.state_at(BEGAN_MS) is not State.CLEAR]
    decided = [each for each in in_force if each.cause is Cause.OPERATOR]
    if decided:
        assert (holds.cause, holds.since_ms) == (Cause.OPERATOR, max(each.since_ms for each in decided))
    elif in_force:
        assert all(stricter(each.state, holds.state) is holds.state for each in in_force)


@pytest.mark.parametrize("named", [NETWORK, QUIZ])
def test_a_network_and_a_quiz_are_challenged_at_most(named: str) -> None:
    found = judged(None, named, "", {"alike": 1e6}, ABUSE, BEGAN_MS)
    assert found is not None
    assert found.state is State.CHALLENGED
    less = judged(None, named, "", {"alike": float(ABUSE.block_points)}, ABUSE, BEGAN_MS)
    assert less is None or less.state is State.DELAYED


def test_each_block_is_twice_as_long_up_to_a_limit_and_ends_by_itself() -> None:
    before: Verdict | None = None
    now_ms, lasts_s = BEGAN_MS, []
    for _ in range(12):
        before = judge(before, {"pressed": 75.0}, now_ms)
        found = judge(before, {"pressed": 75.0, "unanswered": 25.0}, now_ms)
        assert found is not None
        lasts_s.append((found.until_ms - now_ms) // 1000)
        now_ms = found.until_ms
        assert found.state_at(now_ms - 1) is State.BLOCKED
        assert found.state_at(now_ms) is State.CLEAR
        before = found
    assert lasts_s[:3] == [ABUSE.block_s, 2 * ABUSE.block_s, 4 * ABUSE.block_s]
    assert lasts_s[-1] == ABUSE.block_max_s


def test_a_state_that_continues_is_written_again_in_its_second_half_only() -> None:
    first = judge(None, {"alike": 30.0})
    assert first is not None
    half_ms = ABUSE.delay_s * 500
    assert judge(first, {"alike": 40.0}, BEGAN_MS + half_ms - 1) is None
    renewed = judge(first, {"alike": 40.0}, BEGAN_MS + half_ms + 1)
    assert renewed is not None
    assert renewed.since_ms == first.since_ms
    assert renewed.until_ms > first.until_ms
