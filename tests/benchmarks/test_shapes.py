"""Figures of a shape are of what was due, sent and passed in its part of the run."""

from __future__ import annotations

from array import array

import pytest

from benchmarks.backlog import Look
from benchmarks.generator import Told
from benchmarks.load import Requests
from benchmarks.scene import Scene
from benchmarks.shapes_backlog import _drained, _passed_s, _progress, completions
from benchmarks.shapes_spike import Plan, due_between, recovered_s
from benchmarks.shapes_users import crowded
from benchmarks.shapes_users_process import Answered
from benchmarks.visibility import Positions
from schemas import ids

BEGUN_AT = 1_000_000.0


def look(at: float, waiting: int) -> Look:
    return Look(at, {"qualify": waiting})


def test_a_backlog_counts_as_gone_once_it_stays_gone() -> None:
    looks = [look(5, 800), look(15, 40_000), look(25, 900), look(30, 3_000), look(35, 1_000), look(40, 10)]

    assert recovered_s(looks, spike_begin=10, spike_end=20) == 15.0
    assert recovered_s(looks[:4], spike_begin=10, spike_end=20) is None


def test_what_was_due_in_a_part_is_its_own_however_late_it_was_answered() -> None:
    answered = array("d", [number / 10 + (5.0 if number >= 50 else 0.1) for number in range(101)])
    told = Told(BEGUN_AT, 10.0, b"", b"", 0, 0, [], 1)
    requests = Requests(told, answered)

    assert due_between(requests, BEGUN_AT, BEGUN_AT + 5) == pytest.approx([0.1] * 50)
    assert due_between(requests, BEGUN_AT + 5, BEGUN_AT + 60) == pytest.approx([5.0] * 50)  # not the 101st
    assert due_between(requests, BEGUN_AT - 9, BEGUN_AT) == []


def test_a_spike_adds_to_the_base_rate_what_makes_it_so_many_times() -> None:
    plan = Plan(rate_per_s=100.0, times=5.0)
    assert plan.rate_per_s + plan.added_per_s == 500.0
    assert plan.total_s == plan.spike_begin_s + plan.spike_s + plan.after_s


def test_users_are_measured_after_they_have_arrived() -> None:
    sent, took = array("d", [0.5, 2.0, 3.0, 9.9]), array("d", [9.0, 0.01, 0.03, 0.5])
    answered = Answered(BEGUN_AT, sent.tobytes(), took.tobytes(), ["id"] * 5, 2, 1, 0, 0, [])
    got = crowded(2, answered, 2.0, 10.0, drained=16, cpu_s={"edge": 4.0})

    assert got.accepted == 5
    assert got.ack_ms.count == 3
    assert got.ack_ms.max == 500.0
    assert got.accepted_per_s == round(3 / 8, 1)  # the late first, the second and the third
    assert (got.drained_per_s, got.cores_used) == (2.0, 0.5)


def test_a_backlog_is_drained_when_both_sinks_have_passed_all_of_it() -> None:
    seen = Positions()
    for second, rows, verdicts in ((1, 40, 0), (2, 100, 30), (5, 100, 100)):
        seen.saw("completions", 0, rows, BEGUN_AT + second)
        seen.saw("outcomes", 0, verdicts, BEGUN_AT + second)

    assert [_drained(seen, BEGUN_AT + second) for second in (0, 2, 5)] == [0, 30, 100]
    assert _passed_s(seen, "completions", 100, BEGUN_AT, BEGUN_AT + 9) == pytest.approx(2, abs=0.02)
    assert _passed_s(seen, "outcomes", 100, BEGUN_AT, BEGUN_AT + 9) == pytest.approx(5, abs=0.02)
    last = _progress(seen, BEGUN_AT, 5.0)[-1]
    assert (last.rows, last.verdicts) == (100, 100)


def test_a_backlogs_completions_are_of_as_many_people_and_a_tenth_wants_a_message() -> None:
    scene = Scene("abcdef", 10, 1)
    made = list(completions(scene, 300, b"key", 1_790_000_000_000))

    assert len({completion.completion_id for completion in made}) == 300
    assert len({completion.contact_id for completion in made}) == 300
    assert sum(completion.answers["plan"] == "yes" for completion in made) == 30
    first = made[0]
    assert first.contact_id == ids.contact_id(b"key", scene.tenant_id, str(first.personal.phone))
