"""How a request is framed: read in one way only, with a limit to the wait for its body."""

from __future__ import annotations

import json
import select
import socket
from typing import Any

import pytest

from ingest_api.http import lingering
from ingest_api.http.lingering import Places
from tests.support.edge import Edge, wait_until
from tests.support.sinks import counted

POST = b"POST /quiz/survey/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
BODY = b'{"answers":{}}'
LENGTH = b"Content-Length: 14\r\n"
CHUNKED = b"e\r\n" + BODY + b"\r\n0\r\n\r\n"


def talk(edge: Edge, *parts: bytes) -> bytes:
    """Everything that the edge answers until it closes the connection."""
    with socket.create_connection(("127.0.0.1", edge.port), timeout=60) as connection:
        for part in parts:
            connection.sendall(part)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def problem(answer: bytes) -> Any:
    return json.loads(answer.partition(b"\r\n\r\n")[2])["type"].removeprefix("/problems/")


@pytest.mark.parametrize(
    "head",
    [
        b"Host: y\r\n" + LENGTH,
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: identity\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 14\r\n",
        b"Content-Length: 14\r\nContent-Length: 14\r\n",
        b"Content-Length: +14\r\n",
        b"Content-Length : 14\r\n",
    ],
)
def test_a_request_that_two_servers_may_read_differently_is_refused(edge: Edge, head: bytes) -> None:
    before = len(edge.completions())
    answer = talk(edge, POST + head + b"\r\n" + CHUNKED)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert problem(answer) in ("ambiguous-request", "not-http")
    assert len(edge.completions()) == before


def test_chunked_in_any_case_is_read(edge: Edge) -> None:
    answer = talk(edge, POST + b"Transfer-Encoding: Chunked\r\nConnection: close\r\n\r\n" + CHUNKED)
    assert answer.startswith(b"HTTP/1.1 202 ")


@pytest.mark.parametrize(
    "wish",
    [
        b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        b"Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n",
        b"Upgrade: TLS/1.2\r\nConnection: upgrade\r\n",
        b"Upgrade: h2c\r\n",
    ],
)
@pytest.mark.parametrize("cut", [None, 5, -20, -10, -1], ids=str)
def test_a_wish_for_another_protocol_is_ignored_and_the_body_read(
    edge: Edge, wish: bytes, cut: int | None
) -> None:
    """Twice on one connection: in one part, and cut in its head, at its end and in its body."""
    first = POST + LENGTH + wish + b"\r\n" + BODY
    chunked = POST + b"Transfer-Encoding: chunked\r\n" + wish + b"\r\n" + CHUNKED
    last = POST + LENGTH + b"Connection: close\r\n\r\n" + BODY
    parts = [first + chunked + last] if cut is None else [first[:cut], first[cut:] + chunked, last]
    answer = talk(edge, *parts)
    assert answer.count(b"HTTP/1.1 202 ") == answer.count(b"HTTP/1.1 ") == 3


def test_a_wish_without_a_body_is_ignored_too(edge: Edge) -> None:
    wish = b"Upgrade: h2c\r\nConnection: Upgrade, close\r\n\r\n"
    assert talk(edge, b"GET /health/live HTTP/1.1\r\nHost: x\r\n" + wish).startswith(b"HTTP/1.1 200 ")


def test_a_connect_is_refused(edge: Edge) -> None:
    answer = talk(edge, b"CONNECT quiz.example:443 HTTP/1.1\r\nHost: quiz.example\r\n\r\nabc")
    assert answer.startswith(b"HTTP/1.1 400 ")


def test_a_body_in_many_parts_is_one_body(edge: Edge) -> None:
    parts = [BODY[n : n + 1] for n in range(len(BODY))]
    answer = talk(edge, POST + LENGTH + b"Connection: close\r\n\r\n", *parts)
    assert answer.startswith(b"HTTP/1.1 202 ")


@pytest.mark.parametrize("begun", [b"", b'{"answers"'])
def test_a_body_that_does_not_come_is_not_waited_for_without_limit(edge: Edge, begun: bytes) -> None:
    answer = talk(edge, POST + LENGTH + b"\r\n" + begun)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert problem(answer) == "body-timeout"


CLOSE = b"Connection: close\r\n\r\n"
MEGABYTE = 1_000_000
LINGERING = "quizstream_edge_connections_lingering"


def send_on(edge: Edge, begin: bytes, rest: int) -> bytes:
    """The answer to a client that goes on sending when it is there, and reads it only afterwards."""
    with socket.create_connection(("127.0.0.1", edge.port), timeout=60) as connection:
        connection.sendall(begin)
        assert select.select([connection], [], [], 60)[0], "the answer"
        for _ in range(rest // 10_000):
            connection.sendall(b" " * 10_000)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


@pytest.mark.parametrize(
    ("begin", "status", "slug"),
    [
        (POST + b"Content-Length: 1000000\r\n" + CLOSE, b"413", "body-too-large"),
        (
            POST + b"Transfer-Encoding: chunked\r\n" + CLOSE + b"f0000\r\n" + b" " * 70_000,
            b"413",
            "body-too-large",
        ),
        (
            POST.replace(b"json", b"xml") + b"Content-Length: 1000000\r\n" + CLOSE,
            b"415",
            "unsupported-media-type",
        ),
        (POST + b"Content-Length: 9000000\r\n\r\n", b"413", "body-too-large"),
        (POST + b"X: " + b"x" * 20_000, b"431", "headers-too-large"),
        (POST + b"Host: y\r\n" + LENGTH + b"\r\n", b"400", "ambiguous-request"),
        (b"\x16\x03\x01\x02", b"400", "not-http"),
    ],
    ids=["length", "chunked", "other media type", "beyond the drop", "long head", "two hosts", "no HTTP"],
)
def test_a_client_that_still_sends_gets_the_answer_before_the_close(
    edge: Edge, begin: bytes, status: bytes, slug: str
) -> None:
    answer = send_on(edge, begin, MEGABYTE)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert b"connection: close" in answer
    assert problem(answer) == slug


def test_a_client_that_sends_without_end_is_closed(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lingering, "LINGER_S", 3600.0)
    with pytest.raises(ConnectionError):
        send_on(edge, POST + b"Content-Length: 900000000\r\n" + CLOSE, 100 * MEGABYTE)
    wait_until(lambda: counted(LINGERING) == 0, "the close")


def test_a_client_that_neither_sends_nor_closes_is_closed(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lingering, "LINGER_S", 0.1)
    with socket.create_connection(("127.0.0.1", edge.port), timeout=60) as connection:
        connection.sendall(POST + b"Content-Length: 1000000\r\n" + CLOSE)
        assert b" 413 " in connection.recv(65_536)
        wait_until(lambda: counted(LINGERING) == 0, "the close")
        with pytest.raises(ConnectionError):
            connection.sendall(b" " * 100 * MEGABYTE)


def test_few_connections_linger_at_a_time() -> None:
    places = Places(2)
    assert [places.take() for _ in range(3)] == [True, True, False]
    places.give_back()
    assert places.take()
