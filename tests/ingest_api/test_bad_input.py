"""Every way to ask wrongly gets a problem that names it, and leaves nothing in the topic."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from ingest_api.http import problems
from tests.support.edge import Edge

JSON = {"content-type": "application/json"}


@pytest.fixture(autouse=True)
def _nothing_is_accepted(edge: Edge) -> Iterator[None]:
    before = len(edge.completions())
    yield
    assert len(edge.completions()) == before


@pytest.mark.parametrize(
    ("content", "status", "problem", "pointer"),
    [
        (b"{", 400, "invalid-json", None),
        ({}, 422, "invalid-body", "#"),
        ({"answers": {"color": {"deep": 1}}}, 422, "invalid-body", "#/answers/color"),
        ({"answers": {"colour": "red"}}, 422, "unknown-question", "#/answers/colour"),
        ({"answers": {"color": "x" * 2001}}, 422, "text-too-long", "#/answers/color"),
        ({"answers": {}, "contact": {"phone": "+554712345"}}, 422, "invalid-phone", "#/contact/phone"),
        ({"answers": {}, "contact": {"name": "x" * 201}}, 422, "text-too-long", "#/contact/name"),
        ({"answers": {}, "contact": {"email": "no address"}}, 422, "invalid-email", "#/contact/email"),
        (
            {"answers": {}, "contact": {"email": "=?utf-8?q?eve=40evil.example?=@example.com"}},
            422,
            "invalid-email",
            "#/contact/email",
        ),
        (
            {"answers": {}, "contact": {"email": "a" * 250 + "@x.com"}},
            422,
            "invalid-email",
            "#/contact/email",
        ),
        ({"answers": {}, "completion_id": "x" * 129}, 422, "invalid-idempotency-key", "#/completion_id"),
        (
            {"answers": {}, "submitted_at": "0001-01-01T00:00:00+14:00"},
            422,
            "submitted-at-out-of-bounds",
            "#/submitted_at",
        ),
    ],
)
def test_a_body_that_is_wrong(
    edge: Edge, content: Any, status: int, problem: str, pointer: str | None
) -> None:
    answer = edge.submit("survey", content)
    assert (answer.status, answer.problem, answer.json.get("pointer")) == (status, problem, pointer)


def test_too_many_answers(edge: Edge) -> None:
    many = {"answers": {f"q{n}": 1 for n in range(201)}}
    assert edge.submit("anything", many).problem == "too-many-answers"


def test_a_bad_phone_is_never_shown_in_full(edge: Edge) -> None:
    answer = edge.submit("survey", {"answers": {}, "contact": {"phone": "+5511900000000000"}})
    assert answer.problem == "invalid-phone"
    assert b"1190000" not in answer.body


def test_two_different_keys(edge: Edge) -> None:
    answer = edge.submit("survey", {"answers": {}, "completion_id": "a"}, idempotency_key="b")
    assert answer.problem == "conflicting-keys"


def test_quizzes_that_take_nothing(edge: Edge) -> None:
    assert edge.submit("no-such-quiz", {"answers": {}}).problem == "unknown-quiz"
    assert edge.submit("x" * 5000, {"answers": {}}).problem == "unknown-quiz"
    assert len(edge.submit("x" * 5000, {"answers": {}}).body) < 500
    assert edge.submit("closed", {"answers": {}}).problem == "closed-quiz"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "text/html"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "application/json; charset=latin-1"},
        JSON | {"content-encoding": "gzip"},
    ],
)
def test_a_body_that_is_not_plain_json(edge: Edge, headers: dict[str, str]) -> None:
    answer = edge.ask("POST", "/quiz/survey/completions", b'{"answers":{}}', headers)
    assert answer.problem == "unsupported-media-type"


def test_a_body_over_the_limit_is_rejected_by_its_announced_length(edge: Edge) -> None:
    with socket.create_connection(("127.0.0.1", edge.port), timeout=30) as connection:
        connection.sendall(
            b"POST /quiz/survey/completions HTTP/1.1\r\nHost: x\r\n"
            b"Content-Type: application/json\r\nContent-Length: 65537\r\n\r\n"
        )
        assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_a_body_over_the_limit_is_rejected_while_it_streams(edge: Edge) -> None:
    with socket.create_connection(("127.0.0.1", edge.port), timeout=30) as connection:
        connection.sendall(
            b"POST /quiz/survey/completions HTTP/1.1\r\nHost: x\r\n"
            b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        chunk = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
        for _ in range(5):
            connection.sendall(chunk)
        assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_a_client_that_was_rejected_may_finish_and_ask_again(edge: Edge) -> None:
    with socket.create_connection(("127.0.0.1", edge.port), timeout=30) as connection:
        for _ in range(2):
            connection.sendall(
                b"POST /quiz/survey/completions HTTP/1.1\r\nHost: x\r\n"
                b"Content-Type: application/json\r\nContent-Length: 1000000\r\n\r\n" + b" " * 1_000_000
            )
            assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert read_to_end(connection).startswith(b"HTTP/1.1 200 ")


def test_a_body_without_end_ends_with_its_connection(edge: Edge) -> None:
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    with socket.create_connection(("127.0.0.1", edge.port), timeout=30) as connection:
        connection.sendall(
            b"POST /quiz/survey/completions HTTP/1.1\r\nHost: x\r\n"
            b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        with pytest.raises(ConnectionError):
            connection.sendall(chunk * 1000)


def test_a_body_of_exactly_the_limit_is_read(edge: Edge) -> None:
    limit = edge.topology.edge.body_bytes_max
    assert edge.submit("no-such-quiz", b" " * limit).problem == "unknown-quiz"
    assert edge.submit("survey", b" " * limit).problem == "invalid-json"
    assert edge.submit("survey", b" " * (limit + 1)).problem == "body-too-large"


@pytest.mark.parametrize(
    "head",
    [
        b"GET /health/live HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 20_000 + b"\r\n\r\n",
        b"GET /health/live HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 100 + b"\r\n",
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /health/live HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 17_000,  # and no end
    ],
)
def test_a_head_over_the_limit(edge: Edge, head: bytes) -> None:
    with socket.create_connection(("127.0.0.1", edge.port), timeout=30) as connection:
        connection.sendall(head)
        answer = read_to_end(connection)
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["type"] == "/problems/headers-too-large"


def test_what_is_no_http(edge: Edge) -> None:
    with socket.create_connection(("127.0.0.1", edge.port), timeout=30) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        answer = read_to_end(connection)
    assert answer.startswith(b"HTTP/1.1 400 ")


def test_requests_on_one_connection_each_get_their_answer(edge: Edge) -> None:
    with socket.create_connection(("127.0.0.1", edge.port), timeout=30) as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert read_to_end(connection).count(b"HTTP/1.1 200 ") == 4


def test_addresses_and_methods_that_are_not_there(edge: Edge) -> None:
    assert edge.ask("GET", "/quiz").problem == "not-found"
    wrong = edge.ask("GET", "/quiz/survey/completions")
    assert wrong.problem == "method-not-allowed"
    assert set(wrong.headers["allow"].split(", ")) == {"POST", "OPTIONS"}


def test_every_problem_is_explained_where_its_type_points(edge: Edge) -> None:
    for kind in problems.CATALOGUE:
        assert edge.ask("GET", kind.type).json["status"] == kind.status
    assert len(edge.ask("GET", "/problems").json) == len(problems.CATALOGUE) == len(problems.BY_SLUG)
    assert edge.ask("GET", "/problems/no-such").problem == "not-found"


def test_rejections_are_counted_by_type(edge: Edge) -> None:
    edge.submit("no-such-quiz", {"answers": {}})
    metrics = edge.ask("GET", "/metrics").body.decode()
    assert 'quizstream_edge_refused_total{problem="unknown-quiz"}' in metrics
    assert 'quizstream_edge_requests_total{route="completions",status="404"}' in metrics
    assert "quizstream_edge_breaker_state 0.0" in metrics
    assert 'quizstream_reference_data_lag_records{role="quizzes"} 0.0' in metrics


def read_to_end(connection: socket.socket) -> bytes:
    parts = []
    while part := connection.recv(65_536):
        parts.append(part)
    return b"".join(parts)
