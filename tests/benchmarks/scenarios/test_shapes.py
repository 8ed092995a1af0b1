"""Figures of a shape are of the requests that were due, sent and passed in its part of the run."""

from __future__ import annotations

from array import array

import pytest

from benchmarks.load.filling import as_received
from benchmarks.load.generation import Requests
from benchmarks.load.generator import LoadResult
from benchmarks.load.scene import Scene
from benchmarks.measure.watch import Offsets, Waiting
from benchmarks.plans import Spike
from benchmarks.scenarios.spike import BEFORE_S, paces, recovered_s
from schemas import ids

BEGUN_AT = 1_000_000.0


def look(at: float, waiting: int) -> Waiting:
    return Waiting(at, {"qualify": waiting})


def test_a_backlog_counts_as_gone_once_it_stays_gone() -> None:
    looks = [look(5, 800), look(15, 40_000), look(25, 900), look(30, 3_000), look(35, 1_000), look(40, 10)]

    assert recovered_s(looks, spike_begin=10, spike_end=20) == 15.0
    assert recovered_s(looks[:4], spike_begin=10, spike_end=20) is None


def requests(due_s: list[float], took_s: list[float]) -> Requests:
    due = array("d", [-1.0, *due_s])
    answered = array("d", [0.0, *(at + took for at, took in zip(due_s, took_s, strict=True))])
    return Requests.of(LoadResult(BEGUN_AT, due.tobytes(), answered.tobytes(), b"", 0, 0, 0, [], 1))


def test_requests_belong_to_the_part_in_which_they_were_due_however_late_they_were_answered() -> None:
    got = requests([number / 10 for number in range(100)], [0.1] * 50 + [5.0] * 50)

    assert got.latencies_s(BEGUN_AT, BEGUN_AT + 5) == pytest.approx([0.1] * 50)
    assert got.latencies_s(BEGUN_AT + 5, BEGUN_AT + 60) == pytest.approx([5.0] * 50)
    assert got.latencies_s(BEGUN_AT - 9, BEGUN_AT) == []  # the request before the load is of no part


def test_answers_count_in_the_part_in_which_they_came() -> None:
    got = requests([0.5, 2.0, 3.0, 9.9], [9.0, 0.01, 0.03, 0.5])

    assert got.accepted_in(BEGUN_AT + 2, BEGUN_AT + 10) == 3
    assert len(got.latencies_s(BEGUN_AT + 2, BEGUN_AT + 10)) == 3


def test_a_spike_adds_to_the_base_rate_the_rest_of_its_rate() -> None:
    plan = Spike(rate_per_s=100.0, times=5.0)
    base, added = paces(plan)
    assert base.rate_per_s + added.rate_per_s == 500.0
    assert base.seconds == plan.warm_up_s + BEFORE_S + plan.spike_s + plan.after_s


def test_a_backlog_is_drained_when_both_sinks_have_passed_all_of_it() -> None:
    seen = Offsets()
    for second, rows, verdicts in ((1, 40, 0), (2, 100, 30), (5, 100, 100)):
        seen.saw("completions", 0, rows, BEGUN_AT + second)
        seen.saw("outcomes", 0, verdicts, BEGUN_AT + second)

    assert [seen.drained(0, BEGUN_AT + second) for second in (0, 2, 5)] == [0, 30, 100]
    assert seen.passed_at("completions", 100) == BEGUN_AT + 2
    assert seen.passed_at("outcomes", 100) == BEGUN_AT + 5
    with pytest.raises(ValueError, match="has not passed"):
        seen.passed_at("outcomes", 101)


def test_completions_of_a_backlog_are_of_as_many_contacts_and_a_tenth_matches() -> None:
    scene = Scene("abcdef", 10, 1)
    made = list(as_received(scene, range(300), b"key", 1_790_000_000_000))

    assert len({completion.completion_id for completion in made}) == 300
    assert len({completion.contact_id for completion in made}) == 300
    assert sum(completion.answers["plan"] == "yes" for completion in made) == 30
    first = made[0]
    assert first.contact_id == ids.contact_id(b"key", scene.tenant_id, str(first.personal.phone))
