"""Several edge processes of one host: one address for clients, and one of its own for each."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
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
from pipeline.runtime.ports import EDGE_ID, Ports
from tests.support.edge import Answer, Edge, prepare, settings_for, wait_ready, wait_until
from tests.support.ports import free_ports
from tests.support.scrapes import scrape

EDGES = 3
CLIENTS = 8
ACCEPTED = "quizstream_edge_requests_total"


class Host:
    """Edges on one port base; each is a process of its own, by its number."""

    def __init__(self, ports: Ports, env: dict[str, str], folder: Path, shared: Edge) -> None:
        self.ports = ports
        self.shared = shared
        self.edges: dict[int, subprocess.Popen[bytes]] = {}
        self._env = env
        self._folder = folder

    def log_of(self, number: int | None) -> Path:
        return self._folder / f"edge-{number}.log"

    def start(self, number: int | None) -> subprocess.Popen[bytes]:
        env = self._env | ({} if number is None else {EDGE_ID: str(number)})
        with self.log_of(number).open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "ops.processes.table", "edge"], env=env, stderr=log
            )

    def run(self, number: int) -> None:
        """Start it; it is ready when this returns."""
        self.edges[number] = self.start(number)
        own = self.own(number)
        wait_until(lambda: listens(own.port), f"edge {number} to listen ({self.log_of(number)})")
        wait_ready(own)

    def own(self, number: int) -> Edge:
        return Edge(self.ports.edge_own(number), self.shared.settings, self.shared.topology)

    def accepted(self, number: int) -> int:
        """How many completions this edge accepted, by its own metrics."""
        found = scrape("edge", f"{self.own(number).url}/metrics")
        return int(found.value(ACCEPTED, route="completions", status="202") or 0)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def host(stack: ServerUrls, namespace: str, tmp_path: Path) -> Iterator[Host]:
    settings = settings_for(stack.kafka_bootstrap, namespace)
    ports = free_ports()
    env = {key: value for key, value in os.environ.items() if not key.startswith("QUIZSTREAM_")}
    env |= {
        "KAFKA_BOOTSTRAP_SERVERS": stack.kafka_bootstrap,
        "REDIS_URL": stack.redis_url,
        "QUIZSTREAM_NAMESPACE": namespace,
        "QUIZSTREAM_HOME": str(tmp_path / "home"),
        "QUIZSTREAM_PORT_BASE": str(ports.base),
    }
    one = Host(ports, env, tmp_path, Edge(ports.edge, settings, prepare(settings)))
    try:
        with ThreadPoolExecutor(EDGES) as pool:
            list(pool.map(one.run, range(EDGES)))
        yield one
    finally:
        for process in one.edges.values():
            process.kill()
            process.wait()


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
