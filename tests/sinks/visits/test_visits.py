"""The table of visits, on a real database and by a running sink."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import reduce
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.records import Progress
from sinks.visits.visit import Visit
from sinks.visits.visits import Visits
from tests.support.samples import NOW_MS, TODAY, number
from tests.support.sinks import Corner, until
from tests.support.visit_reports import report, reports

FIELDS = (
    "quiz_version, furthest, question_id, progressed, active_at, abandoned_at, completed_at, first_seen_at,"
    " last_seen_at, state"
)


def rows(corner: Corner) -> dict[str, tuple[object, ...]]:
    """Visit -> its fields and state, times in ms."""
    found = corner.rows(f"SELECT visit_id::text, {FIELDS} FROM visits")
    return {
        str(visit): tuple(
            round(value.timestamp() * 1000) if isinstance(value, datetime) else value for value in fields
        )
        for visit, *fields in found
    }


def expected(events: Sequence[Progress]) -> dict[str, tuple[Any, ...]]:
    visits: dict[str, Visit] = {}
    for event in events:
        seen = Visit.of(event)
        visits[event.visit_id] = reduce(Visit.merge, [visits.get(event.visit_id, seen), seen])
    return {
        name: (*(getattr(visit, field) for field in visit.__slots__), visit.state.value)
        for name, visit in visits.items()
    }


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(reports(3), min_size=1, max_size=10), st.data())
def test_however_the_log_is_cut_and_repeated_the_table_is_the_merge(
    corner: Corner, log: list[Progress], data: st.DataObject
) -> None:
    corner.connection.execute("DELETE FROM visits")
    sink = Visits()
    start = 0
    while start < len(log):
        end = data.draw(st.integers(start + 1, len(log)))
        corner.write(sink, log[start:end])
        start = data.draw(st.integers(start, end)) if data.draw(st.booleans()) else end
    assert rows(corner) == expected(log)
    before = corner.rows("SELECT ctid, xmin FROM visits ORDER BY 1")

    again = corner.write(sink, data.draw(st.permutations(log)))

    assert (again.rows, again.repeats) == (0, len(log))
    assert corner.rows("SELECT ctid, xmin FROM visits ORDER BY 1") == before


def test_a_visit_of_another_quiz_with_the_same_id_is_another_row(corner: Corner) -> None:
    events = [report(1, "started", 1), report(1, "completed", quiz_id="other")]
    assert corner.write(Visits(), events).rows == 2
    assert corner.rows("SELECT quiz_id, state FROM visits ORDER BY 1") == [
        ("bfi", "started"),
        ("other", "completed"),
    ]


def test_a_running_sink_writes_what_is_in_the_topic_and_dead_letters_what_cannot_be_read(
    corner: Corner,
) -> None:
    corner.make_topics("progress", "dead_letters")
    stranger = report(3, "started", 1, visit_id="no uuid")
    ancient = report(4, "started", 1, day=TODAY - 500)
    corner.produce("progress", [report(1, "started", 1), b"\0\1", stranger, ancient, report(2, "completed")])
    with corner.running(Visits()):
        until(lambda: corner.position("visits") == 5, "the topic to be read")
    assert {name: row[-1] for name, row in rows(corner).items()} == {
        number(1): "started",
        number(2): "completed",
    }
    letters = {(letter.source_offset, letter.stage) for letter in corner.consume("dead_letters")}
    assert letters == {(offset, "sink:visits") for offset in (1, 2, 3)}
    (seen,) = corner.rows("SELECT first_seen_at FROM visits WHERE visit_id = %s", number(1))
    assert seen == (datetime.fromtimestamp(NOW_MS / 1000, UTC),)
