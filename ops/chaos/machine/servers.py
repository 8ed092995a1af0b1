"""The embedded servers of a fault run; each can be killed, frozen and restarted separately.

They are watched as in a deployment: one that a fault kills without `hold` is started again by the watch.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType

import psutil

from ops.chaos.machine.database import POLL_S, WAL_SEGMENT_MIB
from ops.embedded import postgres, valkey
from ops.embedded.broker import Listener
from ops.embedded.home import Home
from ops.embedded.kafka import Kafka
from ops.embedded.server import RunningServer
from ops.embedded.stack import ServerUrls, broker_name
from ops.embedded.watch import ServerWatch, Watched
from ops.processes.process_state import State
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
        self._starters: dict[str, Callable[[threading.Event | None], tuple[RunningServer, str]]] = {
            "postgres": lambda cancelled: postgres.start(
                home, ports, fds, progress, wal_segment_mib=WAL_SEGMENT_MIB, cancelled=cancelled
            ),
            "valkey": lambda cancelled: valkey.start(home, ports, fds, progress, cancelled=cancelled),
        }
        self._progress = progress
        self._watch: ServerWatch | None = None
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
        watched = [
            *(self._watched_broker(node_id) for node_id in range(1, self.kafka.count + 1)),
            *(self._watched(name) for name in self._starters),
        ]
        self._watch = ServerWatch(watched, lambda _states: None, self._progress)
        self._watch.start()
        return ServerUrls(self.kafka.bootstrap, postgres_url, valkey_url)

    def start_one(self, name: str) -> str:
        """Start one server; return its address once it is ready."""
        self._running[name], url = self._starters[name](None)
        if self._watch is not None:
            self._watch.release(name)
        return url

    def _watched(self, name: str) -> Watched:
        def start_again(cancelled: threading.Event) -> None:
            self._running[name], _ = self._starters[name](cancelled)

        return Watched(name, lambda: self._running[name], start_again)

    def _watched_broker(self, node_id: int) -> Watched:
        return Watched(
            broker_name(node_id),
            lambda: self.kafka.server(node_id),
            lambda cancelled: self.kafka.start_broker(node_id, cancelled=cancelled),
        )

    def kill_brokers(self, *node_ids: int) -> None:
        """Send SIGKILL to all at once; they stay away until `start_brokers`."""
        for node_id in node_ids:
            self._watching().hold(broker_name(node_id))
        self.kafka.kill_broker(*node_ids)

    def start_brokers(self, *node_ids: int) -> None:
        """Return once they are back in the cluster. Raises CannotStart."""
        self.kafka.start_broker(*node_ids)
        for node_id in node_ids:
            self._watching().release(broker_name(node_id))

    def kill_watched(self, name: str, timeout_s: float) -> str:
        """Send SIGKILL and do nothing else; return what was seen once the watch has it ready again.

        `name`: `kafka-1`, `postgres`, ... Raises TimeoutError.
        """
        before = self._watching().states()[name]
        if before.pid is None:
            raise ProcessLookupError(f"{name} does not run")
        began_s = time.monotonic()
        os.kill(before.pid, signal.SIGKILL)
        while time.monotonic() - began_s < timeout_s:
            now = self._watching().states()[name]
            if now.restarts > before.restarts and now.state is State.READY:
                return f"{name} is ready {time.monotonic() - began_s:.1f} s after, by itself"
            time.sleep(POLL_S)
        raise TimeoutError(f"{name} is not ready again within {timeout_s:.0f} s: {now.problem or now.state}")

    def _watching(self) -> ServerWatch:
        if self._watch is None:
            raise CannotStart("The servers of the fault run were not started.")
        return self._watch

    def kill(self, name: str) -> None:
        """Send SIGKILL; return once it and its children have ended. It stays away until `start_one`."""
        self._watching().hold(name)
        server = self._running[name]
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
        if self._watch is not None:
            self._watch.stop()
        self.kafka.stop()
        servers, self._running = list(self._running.values()), {}
        if servers:
            with ThreadPoolExecutor(len(servers)) as pool:
                list(pool.map(RunningServer.stop, servers))
        self._lock.release()
