"""The simulator's judgement of session numbers, and the sender's pace and daily limits before it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from ops.simulator.common.bans import DAY_S, BanRules
from pipeline.topology.loader import load
from sinks.delivery.budget.policy import BudgetPolicy
from sinks.delivery.pacing.limiter import Limiter, Pace

CHECKOUT = Path(__file__).resolve().parents[3]
NUMBER = "558185464605"


@pytest.mark.parametrize(
    ("gaps", "reason"),
    [([1.0, 1.4, 0.6] * 20, "rate"), ([7.0] * 30, "regularity"), ([20.0, 25.0, 31.0] * 30, "warm-up")],
)
def test_who_is_fast_regular_or_too_much_for_a_new_number_is_banned(gaps: list[float], reason: str) -> None:
    rules, now = BanRules(), 0.0
    for gap in gaps:
        now += gap
        rules.sent(NUMBER, now, strictness=1.0)
    assert rules.banned[NUMBER].startswith(reason)
    assert BanRules().sent(NUMBER, now, strictness=0.0) is None


@pytest.mark.parametrize("strictness", [1.0, 2.0])
def test_the_sender_of_the_topology_is_never_banned_in_three_weeks(strictness: float) -> None:
    """A new number with more to send than it may, at the pace and the daily limits of topology.yaml."""
    settings = load(CHECKOUT / "topology.yaml").sender
    policy = BudgetPolicy(settings.session_messages_per_day)
    clock = [0.0]
    limiter: Limiter[int] = Limiter(
        pace=Pace(1, 60 / settings.session_messages_per_minute, settings.session_jitter_ratio),
        in_flight_max=settings.in_flight_max,
        queue_wait_max_s=1e9,
        clock=lambda: clock[0],
        rng=random.Random(1),
    )
    rules, used = BanRules(), list[float]()
    while clock[0] < 21 * DAY_S:
        limit_in = policy.limit_of("uazapi", clock[0], None, None)
        assert limit_in is not None
        used = [at for at in used if at + policy.window_s > clock[0]]  # as it is advanced below, to the bit
        if len(used) >= limit_in(0):
            clock[0] = min(used[0] + policy.window_s, clock[0] + DAY_S / 24)
            continue
        limiter.offer(0)
        clock[0] += limiter.wait_s() or 0.0
        for _ in limiter.take():
            used.append(clock[0])
            assert rules.sent(NUMBER, clock[0], strictness) is None
            limiter.ended()
            limiter.freed()
