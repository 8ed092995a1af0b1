"""What browsers, phones and libraries really send is accepted, and pages can read each answer."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from typing import Any

import pytest

from ingest_api.completions.receive import Stamp
from ops.embedded.stack import ServerUrls
from tests.support.edge import SERVICE_TOKEN, Answer, Edge, prepare, running, settings_for, wait_ready
from tests.support.sinks import counted

PATH = "/quiz/survey/completions"
BODY = b'{"answers":{}}'
NOW_MS = 1_800_000_000_000


def accepted(answer: Answer) -> Any:
    assert answer.status == 202, answer.body
    return answer.json


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",  # navigator.sendBeacon with a text
        "text/plain;charset=UTF-8",
        "text/json",
        "application/json;charset=utf8",
        "application/json; charset='UTF-8'",
        'application/json; charset="utf-8"; version=1',
        "application/json; version=1; charset=utf-8",
        "application/json;",
        "application/vnd.api+json",
    ],
)
def test_every_way_to_say_json_is_accepted(edge: Edge, content_type: str) -> None:
    accepted(edge.ask("POST", PATH, BODY, {"content-type": content_type}))


@pytest.mark.parametrize("content_type", ["text/plain; charset=latin-1", "application/json; charset=utf-16"])
def test_another_charset_is_not(edge: Edge, content_type: str) -> None:
    answer = edge.ask("POST", PATH, BODY, {"content-type": content_type})
    assert answer.problem == "unsupported-media-type"


@pytest.mark.parametrize(
    "name",
    [
        "authorization",
        "content-type",
        "idempotency-key",
        "traceparent",
        "tracestate",
        "baggage",
        "sentry-trace",
    ],
)
def test_a_preflight_allows_the_headers_of_pages_and_of_tracing(edge: Edge, name: str) -> None:
    asked = {"origin": "https://quiz.example", "access-control-request-method": "POST"}
    preflight = edge.ask("OPTIONS", PATH, headers=asked | {"access-control-request-headers": name})
    allowed = preflight.headers["access-control-allow-headers"].split(", ")
    assert name in allowed
    assert "*" in allowed


@pytest.mark.parametrize("path", [f"{PATH}/", "/api/quiz/survey/submit/"])
def test_an_address_with_a_slash_at_its_end_is_the_same(edge: Edge, path: str) -> None:
    accepted(edge.ask("POST", path, BODY, {"content-type": "application/json"}))
    assert edge.ask("GET", "/health/live/").status == 200
    assert edge.ask("GET", "/").problem == "not-found"
    assert edge.ask("GET", "/quiz//").problem == "not-found"


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="the machine has no IPv6")
def test_ipv6_is_listened_on(edge: Edge) -> None:
    with socket.create_connection(("::1", edge.port), timeout=60) as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "key", ["undefined", "null", "NULL", "[object Object]", "NaN", " undefined ", "None", "[object Promise]"]
)
def test_a_key_that_stands_for_no_key_is_refused(edge: Edge, key: str) -> None:
    """Else the answers of the second person would be lost behind a 202."""
    before = len(edge.completions())
    by_header = edge.submit("survey", {"answers": {}}, idempotency_key=key)
    by_body = edge.submit("survey", {"answers": {}, "completion_id": key})
    assert by_header.problem == by_body.problem == "invalid-idempotency-key"
    assert "missing value" in by_header.json["detail"]
    assert len(edge.completions()) == before


@pytest.mark.parametrize("key", ["K, K", "K,K", '"K", "K"'])
def test_two_keys_that_a_proxy_joined_are_refused(edge: Edge, key: str) -> None:
    answer = edge.submit("survey", {"answers": {}}, idempotency_key=key)
    assert answer.problem == "invalid-idempotency-key"


def test_a_quoted_key_may_have_a_comma(edge: Edge) -> None:
    quoted = accepted(edge.submit("survey", {"answers": {}}, idempotency_key='"a, b"'))
    assert accepted(edge.submit("survey", {"answers": {}, "completion_id": "a, b"})) | {
        "accepted_at": "",
        "repeated": True,
    } == quoted | {"accepted_at": "", "repeated": True}


@pytest.mark.parametrize("name", ["Idempotency-Key", "Content-Type", "Authorization"])
def test_a_header_that_must_be_single_is_refused_when_it_is_repeated(edge: Edge, name: str) -> None:
    value = {"Content-Type": "application/json", "Authorization": f"Bearer {SERVICE_TOKEN}"}.get(name, "K")
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 14\r\n" + f"{name}: {value}\r\n" * 2
    if name != "Content-Type":
        head += "Content-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", edge.port), timeout=60) as connection:
        connection.sendall(head.encode() + b"Connection: close\r\n\r\n" + BODY)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"/problems/repeated-header" in answer


@pytest.mark.parametrize("text", [r"\ud83d", r"\ud83d and no more", r"\ude00", r"\ud83dA", r"\\\ud83d"])
def test_half_of_a_character_is_named(edge: Edge, text: str) -> None:
    """A text that a script has cut inside of an emoji."""
    answer = edge.submit("survey", b'{"answers":{"color":"' + text.encode() + b'"}}')
    assert answer.problem == "invalid-json"
    assert "half of a character" in answer.json["detail"]


@pytest.mark.parametrize("body", [b'{"answers":{"color":"\\\\ud83d"', b'{"answers":{"color":"\\ud83d'])
def test_a_body_that_ends_early_is_not_half_of_a_character(edge: Edge, body: bytes) -> None:
    answer = edge.submit("survey", body)
    assert answer.problem == "invalid-json"
    assert "half of a character" not in answer.json["detail"]


def test_choices_may_be_numbers(edge: Edge) -> None:
    """They are the same choices as their texts, also where a key comes again."""
    content = {"answers": {"color": [1, 2.5, True, "x"]}}
    first = accepted(edge.submit("survey", content, idempotency_key="numbers"))
    (completion,) = (c for c in edge.completions() if c.completion_id == first["completion_id"])
    assert completion.answers == {"color": ["1", "2.5", "true", "x"]}
    texts = {"answers": {"color": ["1", "2.5", "true", "x"]}}
    assert accepted(edge.submit("survey", texts, idempotency_key="numbers"))["repeated"] is True


def test_an_answer_says_that_a_completion_came_before(edge: Edge) -> None:
    content = {"answers": {"color": "blue"}}
    first = accepted(edge.submit("survey", content, idempotency_key="again"))
    second = accepted(edge.submit("survey", content, idempotency_key="again"))
    assert "repeated" not in first
    assert second["repeated"] is True
    assert second["completion_id"] == first["completion_id"]
    assert "repeated" not in accepted(edge.submit("survey", content))


def test_a_phone_whose_clock_is_ahead_loses_nothing(stack: ServerUrls, namespace: str) -> None:
    """Its completion is stored under its arrival, and marked; a service whose clock is ahead is told."""
    settings = settings_for(stack.kafka_bootstrap, namespace)
    topology = prepare(settings)
    stamp = replace(Stamp(settings.contact_key), now_ms=lambda: NOW_MS)
    counted_before = counted("quizstream_edge_clocks_ahead_total")
    with running(settings, topology, stamp) as edge:
        wait_ready(edge)
        within = {"answers": {}, "submitted_at": "2027-01-15T08:04:59Z"}
        ahead = {"answers": {}, "submitted_at": "2027-01-15T08:06:00Z"}
        years = {"answers": {}, "submitted_at": "2086-01-01T00:00:00Z"}
        answers = [accepted(edge.submit("survey", content)) for content in (within, ahead, years)]
        service = edge.submit("survey", ahead, authorization=f"Bearer {SERVICE_TOKEN}")
        by_id = {completion.completion_id: completion for completion in edge.completions()}
    stored = [by_id[answer["completion_id"]] for answer in answers]
    assert [answer.get("clock_ahead_ms") for answer in answers] == [None, 360_000, stored[2].clock_ahead_ms]
    assert [completion.clock_ahead_ms for completion in stored][:2] == [0, 360_000]
    assert [completion.submitted_at - NOW_MS for completion in stored] == [299_000, 0, 0]
    assert {answer["day"] for answer in answers} == {"2027-01-15"}
    assert service.problem == "submitted-at-out-of-bounds"
    assert counted("quizstream_edge_clocks_ahead_total") == counted_before + 2


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /quiz/survey/completions HTTP/1.1\r\nHost: x\r\n\r\n",
        b"no http\r\n\r\n",
        b"POST /quiz/survey/completions HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 17_000 + b"\r\n\r\n",
        b"POST /quiz/survey/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n{",
    ],
)
def test_a_page_can_read_every_answer(edge: Edge, request_bytes: bytes) -> None:
    with socket.create_connection(("127.0.0.1", edge.port), timeout=60) as connection:
        connection.sendall(request_bytes)
        head = connection.recv(65_536).lower()
    assert int(head.split(b" ")[1]) in (400, 404, 405, 415, 431)
    assert b"\r\naccess-control-allow-origin: *\r\n" in head
    assert b"\r\naccess-control-expose-headers: retry-after" in head


def test_json_of_a_beacon_is_what_it_says(edge: Edge) -> None:
    body = json.dumps({"answers": {"color": "red"}, "completion_id": "beacon"}).encode()
    sent = accepted(edge.ask("POST", PATH, body, {"content-type": "text/plain;charset=UTF-8"}))
    by_fetch = accepted(edge.submit("survey", body))
    assert sent["completion_id"] == by_fetch["completion_id"]
