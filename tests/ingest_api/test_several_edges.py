"""Several edge processes of one host: one address for clients, and one of its own for each."""

from __future__ import annotations

import signal
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from http.client import HTTPException
from pathlib import Path

import pytest

from ops.embedded.stack import ServerUrls
from pipeline.runtime.ports import EDGE_ID
from pipeline.topology import loader
from tests.support.edge import Answer, Edge, prepare, settings_for, wait_until
from tests.support.hosts import Host, hosted, listens

EDGES = 3
CLIENTS = 8


@pytest.fixture
def host(stack: ServerUrls, namespace: str, tmp_path: Path) -> Iterator[Host]:
    settings = settings_for(stack.kafka_bootstrap, namespace)
    with hosted(settings, prepare(settings), stack.redis_url, tmp_path, EDGES) as one:
        yield one


def submit(edge: Edge, key: str) -> Answer:
    """Over a connection of its own, as another visitor."""
    return edge.submit("survey", {"answers": {}}, idempotency_key=key)


def submit_until_accepted(edge: Edge, key: str) -> str:
    """As a page does: the same key again, until an edge has accepted it. Returns the completion's id."""
    accepted: list[str] = []

    def done() -> bool:
        try:
            answer = submit(edge, key)
        except (OSError, HTTPException):
            return False
        if answer.status == 202:
            accepted.append(answer.json["completion_id"])
        return answer.status == 202

    wait_until(done, f"{key} to be accepted")
    return accepted[0]


def test_each_accepts_at_the_one_address_and_is_scraped_at_its_own(host: Host) -> None:
    posted = 0
    while not all(host.accepted(number) for number in range(EDGES)):
        for _ in range(20):
            assert submit(host.shared, str(uuid.uuid4())).status == 202
        posted += 20
        assert posted < 10_000, [host.accepted(number) for number in range(EDGES)]

    assert sum(host.accepted(number) for number in range(EDGES)) == posted
    assert len(host.shared.completions()) == posted
    # A load balancer that chooses for itself.
    for number in range(EDGES):
        before = host.accepted(number)
        assert submit(host.own(number), str(uuid.uuid4())).status == 202
        assert host.accepted(number) == before + 1


@contextmanager
def load(edge: Edge) -> Iterator[list[str]]:
    """Visitors who come until the end of it; yields the ids of what was accepted."""
    accepted: list[str] = []
    stopping = threading.Event()

    def visit() -> None:
        while not stopping.is_set():
            accepted.append(submit_until_accepted(edge, str(uuid.uuid4())))

    with ThreadPoolExecutor(CLIENTS) as pool, ExitStack() as ending:
        ending.callback(stopping.set)
        visiting = [pool.submit(visit) for _ in range(CLIENTS)]
        yield accepted
    for visitor in visiting:
        visitor.result()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_one_that_ends_under_load_loses_nothing_and_the_others_serve(host: Host, how: signal.Signals) -> None:
    with load(host.shared) as accepted:
        wait_until(lambda: all(host.accepted(number) for number in range(EDGES)), "each edge to accept")
        ending = host.edges[1]
        ending.send_signal(how)
        status = ending.wait(30)
        assert status == (-signal.SIGKILL if how is signal.SIGKILL else 0)
        by_then = len(accepted)
        wait_until(lambda: len(accepted) > by_then + 10 * CLIENTS, "the others to accept")
        host.run(1)
        wait_until(lambda: host.accepted(1) > 0, "the new one to get clients")

    stored = {completion.completion_id for completion in host.shared.completions()}
    assert set(accepted) <= stored


def test_an_edge_has_no_clients_at_the_shared_port_before_it_is_ready(
    stack: ServerUrls, namespace: str, tmp_path: Path
) -> None:
    settings = settings_for("127.0.0.1:1", namespace)
    topology = loader.load(settings.topology_file, namespace)
    with hosted(settings, topology, stack.redis_url, tmp_path, edges=0) as host:
        process = host.edges[0] = host.start(0)
        own = host.own(0)
        wait_until(lambda: listens(own.port), "its own port")
        assert own.ask("GET", "/health/live").status == 200
        health = own.ask("GET", "/health")
        assert (health.status, health.json["status"], health.json["edge"]) == (503, "starting", 0)
        assert any("Kafka" in reason for reason in health.json["reasons"])
        assert not listens(host.ports.edge), "clients are kept for edges that are ready"
        process.terminate()
        assert process.wait(30) == 0


def test_an_edge_that_would_share_a_number_or_has_none_does_not_start(host: Host) -> None:
    for number, port in ((0, host.ports.edge_own(0)), (None, host.ports.edge)):
        refused = host.start(number)
        assert refused.wait(60) != 0
        said = host.log_of(number).read_text().splitlines()[-1]
        assert f"cannot listen on port {port}" in said
        assert EDGE_ID in said
    assert all(process.poll() is None for process in host.edges.values())
    assert submit(host.shared, "still-there").status == 202
    wait_until(partial(_ready_all, host), "all to be as ready as before")


def _ready_all(host: Host) -> bool:
    return all(host.own(number).ask("GET", "/health/ready").status == 200 for number in range(EDGES))
