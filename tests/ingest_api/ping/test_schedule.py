"""The rate that clients make who ping when they are told to, in virtual time."""

from __future__ import annotations

import heapq
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_api.ping.schedule import PingSchedule
from pipeline.topology.file import Ping as Limits

LIMITS = Limits(interval_s=60, interval_max_s=600)
CLIENTS, UNTIL_S = 100_000, 400.0
ROUNDING_S = 1e-6


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def pings_by_second(edges: int, begin_within_s: float) -> list[int]:
    """Of 100,000 clients, each ping answered by any of the edges; from when the first interval is over."""
    clock, rng = Clock(), random.Random(7)
    schedules = [PingSchedule(LIMITS, clock, rng.random) for _ in range(edges)]
    due = [(rng.uniform(0, begin_within_s), client) for client in range(CLIENTS)]
    heapq.heapify(due)
    counts: Counter[int] = Counter()
    while due[0][0] < UNTIL_S:
        clock.now_s, client = due[0]
        counts[int(clock.now_s)] += 1
        heapq.heapreplace(due, (clock.now_s + rng.choice(schedules).next_in_s(0.0), client))
    first_s = int(LIMITS.interval_s * 1.5 + begin_within_s)
    return [counts[second] for second in range(first_s, int(UNTIL_S))]


@pytest.mark.parametrize(("edges", "begin_within_s"), [(1, 0.0), (1, 5.0), (4, 0.0)])
def test_a_hundred_thousand_clients_that_begin_together_make_a_flat_rate(
    edges: int, begin_within_s: float
) -> None:
    rates = pings_by_second(edges, begin_within_s)
    mean = sum(rates) / len(rates)
    print(f"{edges} edges, begun within {begin_within_s} s: peak / mean {max(rates) / mean:.3f}")
    assert mean == pytest.approx(CLIENTS / LIMITS.interval_s, rel=0.05)
    assert max(rates) / mean < 1.2
    assert min(rates) / mean > 0.8


@given(st.lists(st.tuples(st.floats(0, 2_000), st.floats(-1, 3)), max_size=60), st.randoms())
def test_an_interval_keeps_its_bounds_and_every_booking_ends(
    pings: list[tuple[float, float]], rng: random.Random
) -> None:
    clock = Clock()
    schedule = PingSchedule(LIMITS, clock, rng.random)
    for after_s, load in pings:
        clock.now_s += after_s
        next_in_s = schedule.next_in_s(load)
        interval_s = 60 + min(max(load, 0.0), 1.0) * 540
        assert interval_s * 0.5 - ROUNDING_S <= next_in_s <= interval_s * 1.5 + ROUNDING_S
        assert 1 <= schedule.booked <= len(pings)
    clock.now_s += 901
    schedule.next_in_s(0.0)
    assert schedule.booked == 1


def test_a_loaded_process_asks_for_fewer_pings() -> None:
    schedule = PingSchedule(LIMITS, Clock(), random.Random(1).random)
    means = [sum(schedule.next_in_s(load) for _ in range(500)) / 500 for load in (0.0, 0.5, 1.0)]
    assert means == pytest.approx([60, 330, 600], rel=0.1)
