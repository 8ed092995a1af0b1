"""A visit is the same in whatever order its reports come and however often; its state moves by the table."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from hypothesis import given
from hypothesis import strategies as st

from schemas.records import Progress
from sinks.visits.visit import ABANDONED, COMPLETED, PROGRESSED, STARTED, TRANSITIONS, Visit, VisitState
from tests.support.samples import NOW_MS
from tests.support.visit_reports import KINDS, report, reports

some_reports = st.lists(reports(1), min_size=1, max_size=8)


def merged(events: Sequence[Progress]) -> Visit:
    return reduce(Visit.merge, map(Visit.of, events))


@given(some_reports, st.data())
def test_order_repeats_and_grouping_change_nothing(events: list[Progress], data: st.DataObject) -> None:
    again = data.draw(st.permutations([*events, *data.draw(st.lists(st.sampled_from(events), max_size=4))]))
    cut = data.draw(st.integers(1, len(again)))
    parts = [part for part in (again[:cut], again[cut:]) if part]
    assert reduce(Visit.merge, map(merged, parts)) == merged(events)


@given(some_reports)
def test_a_state_changes_only_as_the_table_says(events: list[Progress]) -> None:
    visit = Visit.of(events[0])
    for event in events[1:]:
        after = visit.merge(Visit.of(event))
        assert after.state is visit.state or after.state in TRANSITIONS[visit.state]
        visit = after


def test_every_transition_of_the_table_happens() -> None:
    reached = set()
    for one in KINDS:
        for at in range(3):
            before = Visit.of(report(1, one, at=NOW_MS + at))
            for middle in KINDS:
                for at_middle in range(3):
                    visit = before.merge(Visit.of(report(1, middle, at=NOW_MS + at_middle)))
                    for last in KINDS:
                        after = visit.merge(Visit.of(report(1, last, at=NOW_MS + 2)))
                        reached.add((visit.state, after.state))
    moves = {(before, after) for before, after in reached if before is not after}
    assert moves == {(before, after) for before, rule in TRANSITIONS.items() for after in rule}


def test_each_kind_alone_is_its_state() -> None:
    assert [Visit.of(report(1, kind)).state for kind in KINDS] == list(VisitState)


def test_a_visit_is_resumed_by_a_later_report_and_not_by_a_late_one() -> None:
    start, leave = report(1, "started", 1, at=NOW_MS), report(1, "abandoned", 2, at=NOW_MS + 20)
    late, again = (report(1, "progressed", 2, at=NOW_MS + ms) for ms in (10, 30))
    done = report(1, "completed", at=NOW_MS + 15)
    assert merged([start]).state is STARTED
    assert merged([start, late]).state is PROGRESSED
    assert merged([start, leave, late]).state is ABANDONED
    assert merged([start, leave, again]).state is PROGRESSED
    assert merged([start, leave, again, done]).state is COMPLETED
    assert (merged([start, leave]).furthest, merged([leave, start]).question_id) == (2, "q2")
