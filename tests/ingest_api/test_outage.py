"""Kafka unavailable: every request gets an answer, the circuit breaker opens, and retries succeed later."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from ops.embedded.stack import DATABASE_ENV, REDIS_ENV, EmbeddedStack, ServerUrls
from pipeline.runtime.ports import Ports
from pipeline.topology.loader import load
from pipeline.topology.model import Topology
from tests.support.edge import Answer, Edge, prepare, running, settings_for, wait_ready, wait_until
from tests.support.ports import free_ports

pytestmark = pytest.mark.xdist_group("outage")

CLIENTS = 16
DELIVER_TIMEOUT_MS = 1500


@dataclass
class Broker:
    """A Kafka of this test's own, to be stopped and started on one port."""

    home: Path
    ports: Ports
    stack: EmbeddedStack | None = None

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.ports.kafka}"

    def start(self) -> None:
        only_kafka = {DATABASE_ENV: "not started", REDIS_ENV: "not started"}
        stack = EmbeddedStack(self.home, self.ports, env=only_kafka, kafka_heap_mib=256)
        stack.start()
        self.stack = stack

    def stop(self) -> None:
        if self.stack is not None:
            self.stack.stop()
            self.stack = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Connections stay, nobody answers."""
        listening: Any = psutil.net_connections("tcp")
        pid = next(c.pid for c in listening if c.pid and c.laddr.port == self.ports.kafka and not c.raddr)
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)


@pytest.fixture(scope="module")
def broker(stack: ServerUrls) -> Iterator[Broker]:
    """`stack` is asked for only because it says whether servers can start here at all."""
    with tempfile.TemporaryDirectory(prefix="quizstream-outage-") as home:
        own = Broker(Path(home), free_ports())
        yield own
        own.stop()


@dataclass
class Clients:
    """Post one completion after the other until stopped; what was accepted and what was rejected, by key."""

    edge: Edge
    accepted: dict[str, str] = field(default_factory=dict)
    rejected: dict[str, Answer] = field(default_factory=dict)
    stopping: threading.Event = field(default_factory=threading.Event)

    def post(self, key: str) -> bool:
        answer = self.edge.submit("survey", {"answers": {"color": "blue"}, "completion_id": key})
        if answer.status == 202:
            self.accepted[key] = answer.json["completion_id"]
            self.rejected.pop(key, None)
        else:
            self.rejected[key] = answer
        return answer.status == 202

    @contextmanager
    def posting(self) -> Iterator[None]:
        def one(client: int) -> None:
            number = 0
            while not self.stopping.is_set():
                self.post(f"{client}-{number}")
                number += 1
                self.stopping.wait(0.05)

        with ThreadPoolExecutor(CLIENTS) as pool:
            posting = [pool.submit(one, client) for client in range(CLIENTS)]
            try:
                yield
            finally:
                self.stopping.set()
        for client in posting:
            client.result()


def impatient(topology: Topology) -> Topology:
    edge = msgspec.structs.replace(topology.edge, deliver_timeout_ms=DELIVER_TIMEOUT_MS)
    return msgspec.structs.replace(topology, edge=edge)


def breaker_is_open(edge: Edge) -> bool:
    return b"quizstream_edge_breaker_state 2.0" in edge.ask("GET", "/metrics").body


def test_an_edge_that_is_there_before_kafka_says_so_and_then_serves(broker: Broker, namespace: str) -> None:
    settings = settings_for(broker.bootstrap, namespace)
    with running(settings, impatient(load(settings.topology_file, namespace))) as edge:
        assert edge.ask("GET", "/health/live").status == 200
        ready = edge.ask("GET", "/health/ready")
        assert ready.status == 503
        assert len(ready.json["reasons"]) == 5  # quizzes, tokens, limits of tenants, keys of webhooks, log
        answer = edge.submit("survey", {"answers": {}})
        assert answer.problem == "not-ready"
        assert int(answer.headers["retry-after"]) >= 1
        broker.start()
        prepare(settings)
        wait_ready(edge)
        # The topic was there before the quiz in it: an edge that is ready may hear of it a moment later.
        wait_until(lambda: edge.submit("survey", {"answers": {}}).status == 202, "the quiz to be known")


@pytest.mark.parametrize("outage", ["gone", "frozen"])
def test_nobody_hangs_in_an_outage_and_nothing_that_was_accepted_is_missing(
    broker: Broker, namespace: str, outage: str
) -> None:
    if broker.stack is None:
        broker.start()
    settings = settings_for(broker.bootstrap, namespace)
    with running(settings, impatient(prepare(settings))) as edge:
        wait_ready(edge)
        clients = Clients(edge)
        with clients.posting():
            wait_until(lambda: len(clients.accepted) > 100, "the first completions")
            if outage == "gone":
                broker.stop()
                wait_open_and_refusing(edge, clients)
                broker.start()
            else:
                with broker.frozen():
                    wait_open_and_refusing(edge, clients)
            wait_ready(edge)
            so_far = len(clients.accepted)
            wait_until(lambda: len(clients.accepted) > so_far + 100, "completions after the outage")
        for answer in clients.rejected.values():
            assert answer.status == 503
            assert answer.problem == "log-unavailable"
            assert int(answer.headers["retry-after"]) >= 1
        with ThreadPoolExecutor(CLIENTS) as pool:
            assert all(pool.map(clients.post, list(clients.rejected)))
        in_topic = {completion.completion_id for completion in edge.completions()}
    assert set(clients.accepted.values()) <= in_topic


def wait_open_and_refusing(edge: Edge, clients: Clients) -> None:
    wait_until(lambda: breaker_is_open(edge), "the breaker to open")
    assert edge.ask("GET", "/health/ready").status == 503
    rejected = len(clients.rejected)
    wait_until(lambda: len(clients.rejected) > rejected + 5 * CLIENTS, "rejections while it is open")
    # Open, nobody waits for a report any more.
    assert b"quizstream_edge_in_flight 0.0" in edge.ask("GET", "/metrics").body
