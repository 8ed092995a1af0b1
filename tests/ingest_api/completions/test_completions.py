"""What a 202 promises: the record is in the topic, under an id and a day that a retry gets again."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from ingest_api.completions.keys import new_key
from ingest_api.completions.receive import Stamp
from ops.embedded.stack import ServerUrls
from pipeline.runtime.settings import Settings
from schemas import ids
from schemas.records import Completion, Consent, Personal
from tests.support.edge import (
    OTHER_TENANTS_TOKEN,
    REVOKED_TOKEN,
    SERVICE_TOKEN,
    Answer,
    Edge,
    prepare,
    running,
    settings_for,
    wait_ready,
)
from tests.support.sinks import counted

DAY_MS = 86_400_000
MIDNIGHT_MS = 20_780 * DAY_MS
PHONE = "+5547989211984"


def in_topic(edge: Edge, completion_id: str) -> list[Completion]:
    return [completion for completion in edge.completions() if completion.completion_id == completion_id]


def accepted(answer: Answer) -> str:
    assert answer.status == 202, answer.body
    return str(answer.json["completion_id"])


def test_what_was_accepted_is_in_the_topic_as_it_was_meant(edge: Edge) -> None:
    completion_id = accepted(
        edge.submit(
            "capitals",
            {
                "answers": {"q1": 4.0, "q2": "Brasília", "q3": None},
                "contact": {"phone": "(47) 8921-1984", "name": " Ana ", "email": "ana@example.com"},
                "score": 99,
            },
            idempotency_key="meant",
        )
    )
    (completion,) = in_topic(edge, completion_id)
    contact_id = ids.contact_id(edge.settings.contact_key, "acme", PHONE)
    assert completion_id == ids.completion_id("acme", "capitals", "meant", contact_id)
    assert completion.contact_id == contact_id
    assert completion.personal == Personal(PHONE, "Ana", "ana@example.com")
    assert completion.answers == {"q1": 4.0, "q2": "Brasília"}
    assert completion.score == 2.0
    assert completion.quiz_version == 3
    assert completion.submitted_at == completion.accepted_at


def test_a_clients_score_counts_where_the_quiz_has_no_right_answers(edge: Edge) -> None:
    scored = accepted(edge.submit("survey", {"answers": {"color": "blue"}, "score": 0}))
    unscored = accepted(edge.submit("survey", {"answers": {}}))
    assert in_topic(edge, scored)[0].score == 0.0
    assert in_topic(edge, unscored)[0].score is None


def test_a_decision_about_messages_comes_with_the_text_that_was_shown(edge: Edge) -> None:
    def contact(consent: object) -> dict[str, object]:
        return {"answers": {}, "contact": {"phone": "(47) 98921-1984", "consent": consent}}

    decided = accepted(edge.submit("survey", contact({"granted": False, "text": "whatsapp-pt-BR v3"})))
    silent = accepted(edge.submit("survey", contact(None)))
    assert in_topic(edge, decided)[0].consent == Consent(False, "whatsapp-pt-BR v3")
    assert in_topic(edge, silent)[0].consent is None
    for broken, pointer in (
        ({"granted": True}, "#/contact/consent"),
        ({"granted": "yes", "text": "v3"}, "#/contact/consent/granted"),
        ({"granted": True, "text": ""}, "#/contact/consent/text"),
        ({"granted": True, "text": "v" * 201}, "#/contact/consent/text"),
        ({"granted": True, "text": "v3", "ip": "::1"}, "#/contact/consent"),
    ):
        answer = edge.submit("survey", contact(broken))
        assert (answer.status, answer.problem) == (422, "invalid-body")
        assert answer.json["pointer"] == pointer


def test_a_page_that_was_open_when_a_question_was_removed_loses_nothing(edge: Edge) -> None:
    answers = {"color": "blue", "flavour": "mint"}
    stored = in_topic(edge, accepted(edge.submit("survey", {"answers": answers})))[0]
    assert (stored.answers, stored.quiz_version) == (answers, 2)
    assert edge.submit("survey", {"answers": {"flavor": "mint"}}).problem == "unknown-question"


def test_the_old_address_makes_the_same_completion(edge: Edge) -> None:
    new = accepted(edge.submit("survey", {"answers": {}, "completion_id": "old-or-new"}))
    old = edge.ask(
        "POST",
        "/api/quiz/survey/submit",
        b'{"answers":{},"completion_id":"old-or-new"}',
        {"content-type": "application/json; charset=UTF-8"},
    )
    assert accepted(old) == new


def test_somebody_without_a_phone_is_a_contact_of_the_completion_alone(edge: Edge) -> None:
    first = accepted(edge.submit("survey", {"answers": {}, "contact": {"name": "Ana", "phone": ""}}))
    second = accepted(edge.submit("survey", {"answers": {}, "contact": {"name": "Ana"}}))
    assert first != second
    contacts = {in_topic(edge, completion_id)[0].contact_id for completion_id in (first, second)}
    assert len(contacts) == 2


def test_a_thousand_concurrent_posts_with_one_key_are_one_completion(edge: Edge) -> None:
    body = json.dumps({"answers": {"q1": "4"}, "contact": {"phone": PHONE}, "submitted_at": None}).encode()
    headers = {"content-type": "application/json", "idempotency-key": new_key(now_of(edge), bytes)}

    async def post_all() -> list[tuple[int, dict[str, str]]]:
        connector = aiohttp.TCPConnector(limit=200)
        async with aiohttp.ClientSession(edge.url, connector=connector) as session:

            async def post() -> tuple[int, dict[str, str]]:
                async with session.post("/quiz/capitals/completions", data=body, headers=headers) as response:
                    return response.status, await response.json()

            return await asyncio.gather(*(post() for _ in range(1000)))

    answers = asyncio.run(post_all())
    assert {status for status, _ in answers} == {202}
    assert len({(answer["completion_id"], answer["day"]) for _, answer in answers}) == 1
    records = in_topic(edge, answers[0][1]["completion_id"])
    assert len(records) == 1000
    assert len({(record.day, record.contact_id, record.submitted_at) for record in records}) == 1


def test_a_key_that_comes_again_with_another_content_is_refused(
    edge: Edge,
) -> None:
    refused = counted("quizstream_edge_refused_total", problem="key-reused")
    first = {"answers": {"color": "blue", "size": "L"}, "contact": {"phone": PHONE, "name": "Ana"}}
    completion_id = accepted(edge.submit("survey", first, idempotency_key="reused"))
    others: list[dict[str, Any]] = [
        {**first, "answers": {"color": "red", "size": "L"}},
        {**first, "answers": {"color": "blue"}},
        {**first, "contact": {"phone": PHONE, "name": "Eva"}},
        {**first, "score": 3},
    ]
    for other in others:
        assert edge.submit("survey", other, idempotency_key="reused").problem == "key-reused"
    turned = {"contact": first["contact"], "answers": {"size": "L", "color": "blue"}}
    for same in (first, turned, {**first, "completion_id": "reused"}):
        assert accepted(edge.submit("survey", same, idempotency_key="reused")) == completion_id
    assert len(in_topic(edge, completion_id)) == 4
    assert counted("quizstream_edge_refused_total", problem="key-reused") == refused + len(others)
    # One key of two people, or of two quizzes, is two completions: their ids differ.
    someone_else = {**first, "contact": {"phone": "+5511987654321"}}
    assert accepted(edge.submit("survey", someone_else, idempotency_key="reused")) != completion_id
    assert accepted(edge.submit("anything", first, idempotency_key="reused")) != completion_id


def now_of(edge: Edge) -> int:
    accepted_at = edge.submit("survey", {"answers": {}}).json["accepted_at"]
    assert accepted_at.endswith("Z")
    return Stamp(edge.settings.contact_key).now_ms()


@pytest.mark.parametrize("timed_by", ["submitted_at", "key"])
def test_a_retry_across_midnight_is_the_same_completion_of_the_same_day(
    stack: ServerUrls, namespace: str, timed_by: str
) -> None:
    settings = settings_for(stack.kafka_bootstrap, namespace)
    topology = prepare(settings)
    clock = Clock(MIDNIGHT_MS - 1)
    content: dict[str, object] = {"answers": {}, "contact": {"phone": PHONE}, "completion_id": "order-17"}
    if timed_by == "submitted_at":
        content["submitted_at"] = "2026-11-22T23:59:59.5Z"
    else:
        content["completion_id"] = new_key(MIDNIGHT_MS - 500, bytes)
    with running(settings, topology, clock.stamp(settings)) as edge:
        wait_ready(edge)
        before = edge.submit("survey", content)
        clock.now_ms += 2
        after = edge.submit("survey", content)
        records = edge.completions()
    assert accepted(before) == accepted(after)
    assert before.json["day"] == after.json["day"] == "2026-11-22"
    assert before.json["accepted_at"] == "2026-11-22T23:59:59.999Z"
    assert after.json["accepted_at"] == "2026-11-23T00:00:00.001Z"
    assert {record.day for record in records} == {20_779}
    assert {record.accepted_at for record in records} == {MIDNIGHT_MS - 1, MIDNIGHT_MS + 1}


class Clock:
    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms

    def stamp(self, settings: Settings) -> Stamp:
        return replace(Stamp(settings.contact_key), now_ms=lambda: self.now_ms)


def test_a_service_may_hand_in_what_is_months_old(edge: Edge) -> None:
    month_ago = new_key(now_of(edge) - 30 * DAY_MS, bytes)
    old = {"answers": {}, "submitted_at": "2026-10-01T12:00:00Z"}
    assert edge.submit("survey", old).problem == "submitted-at-out-of-bounds"
    with_token = {"authorization": f"Bearer {SERVICE_TOKEN}"}
    assert edge.submit("survey", old, **with_token).json["day"] == "2026-10-01"
    # Out of bounds, the time in a key is none.
    anonymous = edge.submit("survey", {"answers": {}, "completion_id": month_ago})
    service = edge.submit("survey", {"answers": {}, "completion_id": month_ago}, **with_token)
    assert accepted(anonymous) == accepted(service)
    assert anonymous.json["day"] > service.json["day"]


@pytest.mark.parametrize(
    ("authorization", "problem"),
    [
        ("Bearer nobodys", "invalid-token"),
        (f"Bearer {REVOKED_TOKEN}", "invalid-token"),
        ("Basic YTpi", "invalid-token"),
        (f"Bearer {OTHER_TENANTS_TOKEN}", "wrong-tenant"),
    ],
)
def test_a_token_that_does_not_serve_is_rejected(edge: Edge, authorization: str, problem: str) -> None:
    answer = edge.submit("survey", {"answers": {}}, authorization=authorization)
    assert answer.problem == problem
    assert answer.headers.get("www-authenticate") == ("Bearer" if answer.status == 401 else None)


def test_a_page_of_any_origin_may_submit_and_read_the_answer(edge: Edge) -> None:
    asked = {
        "origin": "https://quiz.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type,idempotency-key",
    }
    preflight = edge.ask("OPTIONS", "/quiz/survey/completions", headers=asked)
    assert preflight.status == 204
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert "idempotency-key" in preflight.headers["access-control-allow-headers"]
    assert int(preflight.headers["access-control-max-age"]) > 3600
    bodies: list[dict[str, object]] = [{"answers": {}}, {}]
    for content in bodies:
        answer = edge.submit("survey", content, origin="https://quiz.example")
        assert answer.headers["access-control-allow-origin"] == "*"
