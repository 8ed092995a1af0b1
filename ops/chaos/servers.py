"""The embedded servers of a fault run; each can be killed, frozen and restarted separately."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType

import psutil

from ops.chaos.database import WAL_SEGMENT_MIB
from ops.embedded import postgres, valkey
from ops.embedded.broker import Listener
from ops.embedded.home import Home
from ops.embedded.kafka import Kafka
from ops.embedded.server import RunningServer
from ops.embedded.stack import ServerUrls
from pipeline.errors import CannotStart
from pipeline.runtime.ports import Ports

KAFKA_HEAP_MIB = 512
CHILDREN_GONE_S = 20.0


class Servers:
    """`postgres` and `valkey` by name, and the brokers of `kafka` by node id."""

    def __init__(
        self,
        home: Home,
        ports: Ports,
        progress: Callable[[str], None],
        brokers: int = 1,
        kafka_listeners: Mapping[int, Sequence[Listener]] = MappingProxyType({}),
    ) -> None:
        self._home = home
        home.prepare()
        self._lock = home.lock(progress)
        fds = self.inherited_fds
        self._starters: dict[str, Callable[[], tuple[RunningServer, str]]] = {
            "postgres": lambda: postgres.start(home, ports, fds, progress, wal_segment_mib=WAL_SEGMENT_MIB),
            "valkey": lambda: valkey.start(home, ports, fds, progress),
        }
        self._running: dict[str, RunningServer] = {}
        self.kafka = Kafka(
            home, ports, fds, progress, brokers=brokers, heap_mib=KAFKA_HEAP_MIB, further=kafka_listeners
        )

    @property
    def inherited_fds(self) -> tuple[int, ...]:
        return (self._lock.descriptor,)

    def start(self) -> ServerUrls:
        """Start all servers. Raises CannotStart."""
        with ThreadPoolExecutor(1) as pool:
            brokers = pool.submit(self.kafka.start)
            postgres_url, valkey_url = self.start_one("postgres"), self.start_one("valkey")
            brokers.result()
        return ServerUrls(self.kafka.bootstrap, postgres_url, valkey_url)

    def start_one(self, name: str) -> str:
        """Start one server; return its address once it is ready."""
        self._running[name], url = self._starters[name]()
        return url

    def kill(self, name: str) -> None:
        """Send SIGKILL; return once the process and its children have ended."""
        server = self._running.pop(name)
        children = psutil.Process(server.pid).children(recursive=True)
        os.kill(server.pid, signal.SIGKILL)
        server.stop()
        # A backend that outlives its postmaster still writes: no second server may start before it has ended.
        _, alive = psutil.wait_procs(children, CHILDREN_GONE_S)
        if alive:
            raise CannotStart(
                f"{name}: {len(alive)} of its processes outlived it by {CHILDREN_GONE_S:.0f} s."
            )

    def freeze_broker(self, node_id: int, seconds: float) -> None:
        """Send SIGSTOP, and SIGCONT after that time."""
        pid = self.kafka.server(node_id).pid
        os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            os.kill(pid, signal.SIGCONT)

    def stop(self) -> None:
        """Return once every server has ended."""
        self.kafka.stop()
        servers, self._running = list(self._running.values()), {}
        if servers:
            with ThreadPoolExecutor(len(servers)) as pool:
                list(pool.map(RunningServer.stop, servers))
        self._lock.release()
