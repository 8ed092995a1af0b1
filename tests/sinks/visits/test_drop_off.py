"""At which question people leave: the sums, and the query on a real database."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import Question, Quiz
from sinks.postgres.catalogue.operations import add_quiz, add_tenant
from sinks.postgres.catalogue.quizzes import QuizDraft, UnknownQuiz
from sinks.postgres.partitions import EPOCH
from sinks.visits.drop_off import Counted, DropOff, drop_off, summed
from sinks.visits.visit import VisitState
from sinks.visits.visits import Visits
from tests.support.samples import NOW_MS, TODAY
from tests.support.sinks import Corner
from tests.support.visit_reports import report

QUIZ = Quiz("bfi", "demo", 2, "Big Five", [Question(f"q{n}") for n in (1, 2, 3)], created_at=0)
OPEN_QUIZ = Quiz("free", "demo", 1, "Free", [], created_at=0)
DAY = EPOCH + timedelta(days=TODAY)
NOW = datetime.fromtimestamp(NOW_MS / 1000, UTC)

any_rows = st.lists(
    st.builds(
        Counted,
        st.integers(0, 5),
        st.sampled_from(["", "q1", "q2", "q3", "gone"]),
        st.sampled_from(list(VisitState)),
        st.booleans(),
        st.integers(1, 9),
    ).map(lambda row: row._replace(silent=row.silent and row.state in ("started", "progressed"))),
    max_size=8,
)


def places(found: DropOff) -> list[tuple[int, int, int, int]]:
    return [(one.position, one.reached, one.left, one.active) for one in found.questions]


@given(any_rows, st.sampled_from([QUIZ, OPEN_QUIZ]))
def test_every_visit_is_counted_once_and_those_who_go_on_reach_the_next_question(
    rows: list[Counted], quiz: Quiz
) -> None:
    found = summed(quiz, rows, date.min, date.max)
    assert found.visits == sum(row.visits for row in rows)
    assert found.visits == found.completed + found.abandoned + found.silent + found.active
    assert found.questions[0].reached == found.visits
    assert sum(one.left for one in found.questions) == found.abandoned + found.silent
    assert sum(one.active for one in found.questions) == found.active
    for one, following in zip(found.questions, found.questions[1:], strict=False):
        assert following.reached == one.reached - one.left - one.active
    last = found.questions[-1]
    assert last.reached == last.left + last.active + found.completed


def test_one_completes_one_leaves_at_the_second_question_and_one_goes_silent(corner: Corner) -> None:
    add_tenant(corner.connection, "test", "demo", "Demo")
    questions = [Question("q1", "Como?"), Question("q2"), Question("q3")]
    add_quiz(corner.connection, "test", QuizDraft("bfi", "demo", "Big Five", questions), NOW_MS)
    hour_ago = NOW_MS - 3_600_000
    corner.write(
        Visits(),
        [
            *(report(1, "started", 1), report(1, "progressed", 2), report(1, "completed")),
            *(report(2, "started", 1), report(2, "abandoned", 2, at=NOW_MS + 1)),
            report(3, "started", 1, accepted_at=hour_ago),
            report(4, "progressed", 3),
            report(5, "abandoned", 1, day=TODAY - 9),
            report(6, "abandoned", 1, quiz_id="other"),
        ],
    )

    half_hour_ago = NOW - timedelta(minutes=30)
    week = DAY - timedelta(days=6)
    found = drop_off(corner.connection, "bfi", since=week, until=DAY, silent_before=half_hour_ago)

    assert (found.visits, found.completed, found.abandoned, found.silent, found.active) == (4, 1, 1, 1, 1)
    assert found.states == {"started": 1, "progressed": 1, "abandoned": 1, "completed": 1}
    assert places(found) == [(0, 4, 0, 0), (1, 4, 1, 0), (2, 3, 1, 0), (3, 2, 0, 1)]
    assert [one.text for one in found.questions] == ["", "Como?", "", ""]
    assert found.questions[2].left_ratio == pytest.approx(1 / 3)
    with pytest.raises(UnknownQuiz):
        drop_off(corner.connection, "nowhere", since=week, until=DAY, silent_before=half_hour_ago)


def test_questions_are_found_by_their_id_and_removed_ones_by_their_place() -> None:
    turned = Quiz("bfi", "demo", 3, "Big Five", [Question("q2"), Question("q1")], created_at=0)
    rows = [
        Counted(1, "q1", "abandoned", False, 1),
        Counted(3, "q3", "abandoned", False, 1),
        Counted(2, "q2", "abandoned", False, 1),
    ]
    assert places(summed(turned, rows, DAY, DAY)) == [(0, 3, 0, 0), (1, 3, 1, 0), (2, 2, 2, 0)]


def test_one_report_does_not_lengthen_the_drop_off_of_a_quiz_without_a_list() -> None:
    rows = [Counted(3, "", "abandoned", False, 5), Counted(10_000, "", "abandoned", False, 1)]
    assert places(summed(OPEN_QUIZ, rows, DAY, DAY)) == [(0, 6, 0, 0), (3, 6, 5, 0), (10_000, 1, 1, 0)]
