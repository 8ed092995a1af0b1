"""A seed's schedule: the same each time, every class often enough, nothing hit again before it is back."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ops.chaos.schedule import APART_S, WARM_UP_S, classes_for, schedule

seeds = st.integers(0, 2**32)
durations_s = st.floats(6, 900)
brokers = st.sampled_from([1, 3])


@given(seeds, durations_s, brokers)
def test_the_same_seed_gives_the_same_schedule(seed: int, duration_s: float, count: int) -> None:
    assert schedule(seed, duration_s, count) == schedule(seed, duration_s, count)


def test_another_seed_gives_another_schedule() -> None:
    assert len({tuple(schedule(seed, 60.0)) for seed in range(20)}) == 20


@given(seeds, durations_s, brokers)
def test_faults_come_in_order_and_end_in_time(seed: int, duration_s: float, count: int) -> None:
    faults = schedule(seed, duration_s, count)
    assert faults == sorted(faults, key=lambda fault: fault.at_s)
    for fault in faults:
        assert fault.at_s >= WARM_UP_S - 0.01
        assert fault.end_s <= duration_s + 0.02


@given(seeds, durations_s, brokers)
def test_nothing_is_hit_again_before_it_is_back(seed: int, duration_s: float, count: int) -> None:
    faults = schedule(seed, duration_s, count)
    for number, one in enumerate(faults):
        for other in faults[number + 1 :]:
            if one.target == other.target:
                assert other.at_s >= one.end_s + APART_S - 0.02


@given(seeds, brokers)
def test_ten_minutes_hold_every_class_three_times(seed: int, count: int) -> None:
    counts = Counter(fault.kind for fault in schedule(seed, 600.0, count))
    assert {one.kind: counts[one.kind] >= 3 for one in classes_for(count)} == {
        one.kind: True for one in classes_for(count)
    }


@given(seeds, brokers)
def test_three_minutes_hold_every_class_once(seed: int, count: int) -> None:
    kinds = {fault.kind for fault in schedule(seed, 180.0, count)}
    assert kinds == {one.kind for one in classes_for(count)}


def test_a_single_broker_has_no_controller_of_its_own() -> None:
    alone = {one.kind for one in classes_for(1)}
    together = {one.kind for one in classes_for(3)}
    assert together - alone == {"kafka.controller", "kafka.two_gone"}
