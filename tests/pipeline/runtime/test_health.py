"""What an orchestrator and Prometheus ask of a process."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import pytest
from prometheus_client import CollectorRegistry, Counter

from pipeline.runtime.health import REQUESTS_AT_ONCE_MAX, Observed, Readiness, serve

Serve = Callable[[Callable[[], Readiness]], Observed]


@pytest.fixture
def start() -> Iterator[Serve]:
    running: list[Observed] = []

    def starting(ready: Callable[[], Readiness]) -> Observed:
        registry = CollectorRegistry()
        Counter("things", "Things.", registry=registry).inc(3)
        running.append(serve(0, ready, registry=registry))
        return running[-1]

    yield starting
    for observed in running:
        observed.stop()


def get(observed: Observed, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{observed.port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_a_process_that_is_not_ready_says_why_and_lives(start: Serve) -> None:
    reasons = ["reference data campaigns: not read yet"]
    observed = start(lambda: Readiness(tuple(reasons)))
    assert get(observed, "/health/live")[0] == 200
    status, body = get(observed, "/health/ready")
    assert (status, json.loads(body)) == (503, {"ready": False, "reasons": reasons})
    reasons.clear()
    status, body = get(observed, "/health/ready")
    assert (status, json.loads(body)) == (200, {"ready": True, "reasons": []})


def test_metrics_are_those_of_the_registry(start: Serve) -> None:
    status, body = get(start(Readiness), "/metrics?name[]=things_total")
    assert status == 200
    assert "things_total 3.0" in body


def test_readiness_that_fails_is_not_ready_and_keeps_its_secret(start: Serve) -> None:
    def broken() -> Readiness:
        raise RuntimeError("password=hunter2")

    status, body = get(start(broken), "/health/ready")
    assert status == 503
    assert "RuntimeError" in body
    assert "hunter2" not in body


def test_another_path_says_which_there_are(start: Serve) -> None:
    status, body = get(start(Readiness), "/")
    assert status == 404
    assert "/health/ready" in body


def test_clients_that_say_nothing_cannot_take_more_than_their_share(start: Serve) -> None:
    observed = start(Readiness)
    silent = [socket.create_connection(("127.0.0.1", observed.port)) for _ in range(REQUESTS_AT_ONCE_MAX)]
    with socket.create_connection(("127.0.0.1", observed.port)) as over:
        assert over.recv(1) == b""  # closed, not queued
    for connection in silent:
        connection.close()


def test_a_taken_port_is_an_error_at_the_start(start: Serve) -> None:
    with pytest.raises(OSError, match="in use"):
        serve(start(Readiness).port, Readiness)
