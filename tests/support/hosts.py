"""Several edge processes of one host, each with an address of its own beside the one that they share."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from pipeline.runtime.ports import EDGE_ID, Ports
from pipeline.runtime.settings import Settings
from pipeline.topology.model import Topology
from tests.support.edge import Edge, wait_ready, wait_until
from tests.support.forked import PROCESSES, Forked, start
from tests.support.ports import free_ports
from tests.support.scrapes import Scrape, scrape

ACCEPTED = "quizstream_edge_requests_total"


class Host:
    """Edges on one port base; each is a process of its own, by its number."""

    def __init__(self, ports: Ports, env: dict[str, str], folder: Path, shared: Edge) -> None:
        self.ports = ports
        self.shared = shared
        self.edges: dict[int, Forked] = {}
        self._env = env
        self._folder = folder

    def log_of(self, number: int | None) -> Path:
        return self._folder / f"edge-{number}.log"

    def start(self, number: int | None) -> Forked:
        env = self._env | ({} if number is None else {EDGE_ID: str(number)})
        with self.log_of(number).open("ab") as log:
            return start(PROCESSES, ("edge",), env, log, log, imports=("ingest_api.server",))

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
        return int(self.scraped(number).value(ACCEPTED, route="completions", status="202") or 0)

    def scraped(self, number: int) -> Scrape:
        return scrape("edge", f"{self.own(number).url}/metrics")


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def hosted(
    settings: Settings,
    topology: Topology,
    redis_url: str,
    folder: Path,
    edges: int,
    database_url: str | None = None,
) -> Iterator[Host]:
    """So many edges, ready; they are killed at the end."""
    ports = free_ports()
    env = {key: value for key, value in os.environ.items() if not key.startswith("QUIZSTREAM_")}
    env |= {
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "REDIS_URL": redis_url,
        "QUIZSTREAM_NAMESPACE": settings.topic_namespace,
        "QUIZSTREAM_HOME": str(folder / "home"),
        "QUIZSTREAM_PORT_BASE": str(ports.base),
    }
    if database_url is not None:
        env["DATABASE_URL"] = database_url
    one = Host(ports, env, folder, Edge(ports.edge, settings, topology))
    try:
        with ThreadPoolExecutor(edges or 1) as pool:
            list(pool.map(one.run, range(edges)))
        yield one
    finally:
        for process in one.edges.values():
            process.kill()
            process.wait()
