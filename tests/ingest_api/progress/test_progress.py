"""Reports of progress over HTTP: what is accepted is in its topic, what is wrong is a problem."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from ingest_api.completions.keys import new_key
from schemas import ids
from schemas.records import Progress
from tests.support.edge import Answer, Edge, reports
from tests.support.sinks import counted

DAY_MS = ids.DAY_MS
JSON = {"content-type": "application/json"}


def now_ms() -> int:
    return int(datetime.now(UTC).timestamp() * 1000)


def visit(began_ms: int | None = None) -> str:
    return new_key(now_ms() if began_ms is None else began_ms, lambda count: uuid4().bytes[:count])


def published(edge: Edge, visit_id: str) -> list[Progress]:
    return [event for event in reports(edge) if event.visit_id == visit_id]


def problem(answer: Answer) -> tuple[int, str, str | None]:
    return answer.status, answer.problem, answer.json.get("pointer")


def test_every_kind_is_in_the_topic_with_the_place_of_its_question(edge: Edge) -> None:
    before = counted("quizstream_edge_progress_total", kind="abandoned")
    one = visit()
    at = datetime.now(UTC).replace(microsecond=0)
    for kind, question in (("started", "q1"), ("progressed", "q3"), ("abandoned", "q2"), ("completed", None)):
        answer = edge.report(
            "capitals", {"visit_id": one, "kind": kind, "question_id": question, "at": at.isoformat()}
        )
        assert (answer.status, answer.json) == (202, {"accepted": True})
        assert answer.headers["access-control-allow-origin"] == "*"
    events = published(edge, one)
    assert [(event.kind, event.position, event.question_id) for event in events] == [
        ("started", 1, "q1"),
        ("progressed", 3, "q3"),
        ("abandoned", 2, "q2"),
        ("completed", 0, ""),
    ]
    assert {(e.tenant_id, e.quiz_id, e.quiz_version) for e in events} == {("acme", "capitals", 3)}
    assert {event.at for event in events} == {int(at.timestamp()) * 1000}
    assert {event.day for event in events} == {ids.day_of(now_ms())}
    assert counted("quizstream_edge_progress_total", kind="abandoned") == before + 1


@pytest.mark.parametrize(
    ("quiz", "given", "place"),
    [
        ("capitals", {"position": 2}, (2, "q2")),
        ("anything", {"position": 7}, (7, "")),
        ("survey", {"question_id": "flavour"}, (0, "")),  # removed while the page was open
        ("survey", {"question_id": "size", "position": None}, (2, "size")),
    ],
)
def test_a_question_is_named_by_its_id_or_its_position(
    edge: Edge, quiz: str, given: dict[str, Any], place: tuple[int, str]
) -> None:
    one = visit()
    assert edge.report(quiz, {"visit_id": one, "kind": "progressed", **given}).status == 202
    (event,) = published(edge, one)
    assert (event.position, event.question_id) == place


def test_the_day_is_that_of_the_visits_beginning_unless_its_clock_is_wrong(edge: Edge) -> None:
    now = now_ms()
    yesterday, long_ago, ahead = visit(now - DAY_MS), visit(now - 30 * DAY_MS), visit(now + DAY_MS)
    random = str(uuid4())
    for one in (yesterday, long_ago, ahead, random.upper()):
        far = datetime.fromtimestamp(now / 1000 + 86_400, UTC).isoformat()
        assert edge.report("survey", {"visit_id": one, "kind": "started", "at": far}).status == 202
    days = {one: [ids.day_of(now) - event.day for event in published(edge, one)] for one in (yesterday,)}
    assert days == {yesterday: [1]}
    for one in (long_ago, ahead, random):
        (event,) = published(edge, one)
        assert event.day == ids.day_of(event.accepted_at)
        assert event.at == event.accepted_at


VISIT = "0190c2a4-7e3a-7bcd-8f00-123456789abc"


@pytest.mark.parametrize(
    ("quiz", "content", "told"),
    [
        ("survey", b"{", (400, "invalid-json", None)),
        ("survey", b"", (400, "invalid-json", None)),
        ("survey", {}, (422, "invalid-body", "#")),
        ("survey", {"visit_id": "undefined", "kind": "started"}, (422, "invalid-body", "#/visit_id")),
        ("survey", {"visit_id": VISIT + "\n", "kind": "started"}, (422, "invalid-body", "#/visit_id")),
        ("survey", {"visit_id": VISIT, "kind": "left"}, (422, "invalid-body", "#/kind")),
        ("survey", {"visit_id": VISIT, "kind": "started", "phone": "1"}, (422, "invalid-body", "#")),
        (
            "survey",
            {"visit_id": VISIT, "kind": "started", "position": 0},
            (422, "invalid-body", "#/position"),
        ),
        ("survey", {"visit_id": VISIT, "kind": "started", "at": "today"}, (422, "invalid-body", "#/at")),
        (
            "survey",
            {"visit_id": VISIT, "kind": "started", "position": 3},
            (422, "unknown-question", "#/position"),
        ),
        (
            "survey",
            {"visit_id": VISIT, "kind": "started", "question_id": "colour"},
            (422, "unknown-question", "#/question_id"),
        ),
        (
            "anything",
            {"visit_id": VISIT, "kind": "started", "question_id": "color"},
            (422, "unknown-question", "#/question_id"),
        ),
        (
            "anything",
            {"visit_id": VISIT, "kind": "progressed", "position": 201},
            (422, "unknown-question", "#/position"),
        ),
        (
            "survey",
            b'{"visit_id":"%b","kind":"started","kind":"completed"}' % VISIT.encode(),
            (422, "repeated-field", None),
        ),
        ("survey", b'{"kind":"' + b"x" * 1024 + b'"}', (413, "body-too-large", None)),
        ("nowhere", {"visit_id": VISIT, "kind": "started"}, (404, "unknown-quiz", None)),
        ("closed", {"visit_id": VISIT, "kind": "started"}, (409, "closed-quiz", None)),
    ],
)
def test_what_is_wrong_is_a_problem_and_not_in_the_topic(
    edge: Edge, quiz: str, content: Any, told: tuple[int, str, str | None]
) -> None:
    answer = edge.report(quiz, content)
    assert problem(answer) == told
    assert answer.headers["access-control-allow-origin"] == "*"
    assert published(edge, VISIT) == []


@pytest.mark.parametrize("content_type", ["text/plain;charset=UTF-8", "application/json;charset=utf8"])
@pytest.mark.parametrize("slash", ["", "/"])
def test_it_is_accepted_as_beacons_send_it(edge: Edge, content_type: str, slash: str) -> None:
    body = json.dumps({"visit_id": visit(), "kind": "abandoned"}).encode()
    path = f"/quiz/survey/progress{slash}"
    assert edge.ask("POST", path, body, {"content-type": content_type}).status == 202
    assert edge.ask("POST", path, body, {"content-type": "text/html"}).problem == "unsupported-media-type"
    assert edge.ask("OPTIONS", path).status == 204
    assert edge.ask("GET", path).problem == "method-not-allowed"
