"""Apache Kafka: one broker, or a cluster of three on one machine, so that losing one of several can be tried.

A home is made for one or for three and stays so: its topics have as many replicas.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType

from ops.embedded.broker import Broker, Listener, new_cluster_id
from ops.embedded.coordinators import Coordinators
from ops.embedded.home import Home
from ops.embedded.jars import cache_folder, provide, read_lock
from ops.embedded.java import find_java
from ops.embedded.quorum import brokers_known_to, quorum_leader
from ops.embedded.readable import Readable
from ops.embedded.server import RunningServer
from pipeline.runtime.ports import LOOPBACK, Ports

HEAP_MIB_DEFAULT = 1024
HEAP_MIB_OF_SEVERAL = 512
READY_TIMEOUT_S = 180.0  # an idle machine needs 3 s; one with ten times its work must not be given up


class Kafka:
    """The brokers of a home, by node id from 1. Each can be killed and started again alone."""

    def __init__(
        self,
        home: Home,
        ports: Ports,
        inherited_fds: Sequence[int],
        progress: Callable[[str], None],
        *,
        brokers: int = 1,
        heap_mib: int | None = None,
        further: Mapping[int, Sequence[Listener]] = MappingProxyType({}),
    ) -> None:
        """`heap_mib` of each broker; `further` listeners by node id. Nothing is started yet."""
        self._home = home
        self._inherited_fds = inherited_fds
        self._progress = progress
        self._heap_mib = heap_mib or (HEAP_MIB_DEFAULT if brokers == 1 else HEAP_MIB_OF_SEVERAL)
        self._brokers = {
            node_id: Broker(home, ports, node_id, brokers, tuple(further.get(node_id, ())))
            for node_id in range(1, brokers + 1)
        }
        self._running: dict[int, RunningServer] = {}

    @property
    def bootstrap(self) -> str:
        """host:port[,host:port] of all brokers, whether they run or not."""
        return ",".join(f"{LOOPBACK}:{broker.listens.clients}" for broker in self._brokers.values())

    @property
    def count(self) -> int:
        return len(self._brokers)

    @property
    def ports(self) -> dict[str, int]:
        """Every port that is listened on, by a few words on who does."""
        ports = {}
        for broker in self._brokers.values():
            ports[broker.name] = broker.listens.clients
            ports[f"{broker.name}'s controller"] = broker.listens.controller
        return ports

    @property
    def pids(self) -> dict[int, int]:
        """Process ids of the brokers that run, by node id."""
        return {node_id: server.pid for node_id, server in sorted(self._running.items()) if server.alive}

    def server(self, node_id: int) -> RunningServer:
        """Raises KeyError for one that was not started."""
        return self._running[node_id]

    def start(self) -> None:
        """Returns once each broker knows all and every group coordinator answers. Raises CannotStart."""
        java, jars = self._java_and_jars()
        unformatted = [broker for broker in self._brokers.values() if not broker.is_formatted]
        if unformatted:
            self._progress("Kafka: formatting its storage")
            cluster_id = self._cluster_id()
            with ThreadPoolExecutor(len(unformatted), "format") as pool:
                formatting = [
                    pool.submit(broker.format, java, jars, cluster_id, self._inherited_fds)
                    for broker in unformatted
                ]
            for done in formatting:
                done.result()
        try:
            self._launch(self._brokers, java, jars)
            self._wait(self._brokers, frozenset(self._brokers))
            self._running[1].wait_ready(Coordinators(self.bootstrap), READY_TIMEOUT_S)
            if self.count > 1:
                self._running[1].wait_ready(Readable(self.bootstrap), READY_TIMEOUT_S)
            self._progress("Kafka is ready")
        except BaseException:
            self.stop()
            raise

    def start_broker(self, *node_ids: int, cancelled: threading.Event | None = None) -> None:
        """Starts those that do not run, together; returns once each is back in the cluster.

        A majority must run for that, with these. Raises CannotStart, and KeyError for an unknown id. None of
        those that it started is left then.
        """
        wanted = [node_id for node_id in node_ids if node_id not in self.pids]
        java, jars = self._java_and_jars()
        try:
            self._launch(wanted, java, jars)
            self._wait(wanted, frozenset(wanted), cancelled)
        except BaseException:
            self.kill_broker(*(node_id for node_id in wanted if node_id in self.pids))
            raise

    def kill_broker(self, *node_ids: int) -> None:
        """SIGKILL to each at once; returns once they are gone. Raises KeyError for one never started."""
        servers = [self._running[node_id] for node_id in node_ids]
        with ThreadPoolExecutor(max(1, len(servers)), "kill") as pool:
            list(pool.map(RunningServer.kill, servers))

    def stop_broker(self, *node_ids: int) -> None:
        """The same by SIGTERM: each leaves its files in order."""
        servers = [self._running[node_id] for node_id in node_ids]
        with ThreadPoolExecutor(max(1, len(servers)), "stop") as pool:
            list(pool.map(RunningServer.stop, servers))

    def controller_id(self) -> int | None:
        """The broker that is the active controller; None while there is none, as between two elections."""
        return quorum_leader(self._brokers[node_id].listens.controller for node_id in self.pids)

    def stop(self) -> None:
        """Returns once every broker is gone."""
        self.stop_broker(*self._running)
        self._running.clear()

    def _java_and_jars(self) -> tuple[Path, Path]:
        return find_java(), provide(read_lock(), cache_folder() / "kafka-jars", self._progress)

    def _cluster_id(self) -> str:
        """One for all, also when an earlier start formatted only some of them."""
        file = self._home.path / "kafka" / "cluster.id"
        if len(self._brokers) > 1 and file.exists():
            return file.read_text().strip()
        file.parent.mkdir(exist_ok=True)
        cluster_id = new_cluster_id()
        file.write_text(f"{cluster_id}\n")
        return cluster_id

    def _launch(self, node_ids: Iterable[int], java: Path, jars: Path) -> None:
        for node_id in node_ids:
            broker = self._brokers[node_id]
            self._running[node_id] = broker.launch(java, jars, self._heap_mib, self._inherited_fds)

    def _wait(
        self, node_ids: Iterable[int], known: frozenset[int], cancelled: threading.Event | None = None
    ) -> None:
        """Until each of `node_ids` knows all of `known` as members that serve."""
        for node_id in node_ids:
            port = self._brokers[node_id].listens.clients
            self._running[node_id].wait_ready(
                lambda port=port: known <= brokers_known_to(port),  # type: ignore[misc]
                READY_TIMEOUT_S,
                cancelled,
            )
