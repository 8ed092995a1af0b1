"""Starts and stops the three servers together, and returns their addresses."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

from ops import state_file
from ops.embedded import postgres, valkey
from ops.embedded.home import Home, HomeLock
from ops.embedded.kafka import Kafka
from ops.embedded.port_check import require_free
from ops.embedded.server import RunningServer
from ops.embedded.server_state import Servers, ServerState
from ops.embedded.watch import ServerWatch, Watched
from ops.processes.metrics import ServerMetrics
from pipeline.errors import CannotStart
from pipeline.runtime.ports import Ports

KAFKA_ENV = "KAFKA_BOOTSTRAP_SERVERS"
DATABASE_ENV = "DATABASE_URL"
REDIS_ENV = "REDIS_URL"
SERVERS = {KAFKA_ENV: "kafka", DATABASE_ENV: "postgres", REDIS_ENV: "valkey"}


class _Start(Protocol):
    """Returns a server that is ready, and its URL."""

    def __call__(
        self,
        home: Home,
        ports: Ports,
        inherited_fds: Sequence[int],
        progress: Callable[[str], None],
        *,
        cancelled: threading.Event | None = None,
    ) -> tuple[RunningServer, str]: ...


_STARTS: Mapping[str, _Start] = {DATABASE_ENV: postgres.start, REDIS_ENV: valkey.start}


@dataclass(frozen=True, slots=True)
class ServerUrls:
    """Where the servers are. `kafka_bootstrap` is host:port[,host:port]; `database_url` holds a password."""

    kafka_bootstrap: str
    database_url: str
    redis_url: str

    def as_env(self) -> dict[str, str]:
        """The variables by which every process of the project finds its servers."""
        return {KAFKA_ENV: self.kafka_bootstrap, DATABASE_ENV: self.database_url, REDIS_ENV: self.redis_url}


class _Interrupted(CannotStart):
    """Another server's failure, or Ctrl-C, ended this server's start."""


class EmbeddedStack:
    """Starts Kafka, PostgreSQL and Valkey in `home`, except those whose URL the environment gives.

    The servers end with this process, however it ends. Not to be started twice at the same time.
    """

    def __init__(
        self,
        home: Path,
        ports: Ports,
        progress: Callable[[str], None] | None = None,
        *,
        env: Mapping[str, str] | None = None,
        brokers: int | None = None,
        kafka_heap_mib: int | None = None,
    ) -> None:
        """`brokers`: 1 or 3; None for what the home was made for, 1 where it is new. The heap is of each."""
        self._home = Home(home.expanduser().absolute())
        self._ports = ports
        self._progress = progress or (lambda _line: None)
        self._env = os.environ if env is None else env
        self._brokers_asked = brokers
        self._kafka_heap_mib = kafka_heap_mib
        self._kafka: Kafka | None = None
        self._lock: HomeLock | None = None
        self._servers: dict[str, RunningServer] = {}
        self._watch: ServerWatch | None = None

    def start(self) -> ServerUrls:
        """Returns once all three serve. When one does not: stops the others and raises CannotStart."""
        self._home.prepare()
        self._lock = self._home.lock(self._progress)
        try:
            return self._start_servers()
        except BaseException:
            self.stop()
            raise

    def _start_servers(self) -> ServerUrls:
        cancelled = threading.Event()

        def progress(line: str) -> None:
            if cancelled.is_set():
                raise _Interrupted("Interrupted while starting.")
            self._progress(line)

        home, ports, fds = self._home, self._ports, self.inherited_fds
        starters: dict[str, Callable[[], str]] = {}
        urls = {name: self._env[name] for name in SERVERS if self._env.get(name)}
        if KAFKA_ENV not in urls:
            starters[KAFKA_ENV] = self._kafka_starter(progress)
        elif self._brokers_asked is not None:
            raise CannotStart(f"{KAFKA_ENV} names the brokers already: unset it, or leave --brokers out.")

        def starter(name: str, port: int, purpose: str) -> None:
            require_free(port, purpose)

            def begin() -> str:
                self._servers[name], url = _STARTS[name](home, ports, fds, progress)
                return url

            starters[name] = begin

        # All ports before any server: a taken one is then told at once.
        if DATABASE_ENV not in urls:
            starter(DATABASE_ENV, ports.postgres, "PostgreSQL")
        if REDIS_ENV not in urls:
            starter(REDIS_ENV, ports.valkey, "Valkey")

        def start_one(name: str) -> None:
            urls[name] = starters[name]()

        with ThreadPoolExecutor(len(SERVERS), "embedded") as pool:
            starting = [pool.submit(start_one, name) for name in starters]
            try:
                wait(starting, return_when=FIRST_EXCEPTION)
            finally:
                # Whatever ends the wait early also ends what is still being fetched or awaited.
                if not all(future.done() for future in starting):
                    cancelled.set()
        failures = [error for future in starting if (error := future.exception()) is not None]
        if failures:
            raise next((error for error in failures if not isinstance(error, _Interrupted)), failures[0])
        self._tell()
        return ServerUrls(urls[KAFKA_ENV], urls[DATABASE_ENV], urls[REDIS_ENV])

    def _kafka_starter(self, progress: Callable[[str], None]) -> Callable[[], str]:
        """Its ports are free and the number of its brokers is settled; calling it starts them."""
        brokers = self._home.brokers(self._brokers_asked)
        kafka = Kafka(
            self._home,
            self._ports,
            self.inherited_fds,
            progress,
            brokers=brokers,
            heap_mib=self._kafka_heap_mib,
        )
        for purpose, port in kafka.ports.items():
            require_free(port, purpose)

        def begin() -> str:
            self._home.remember_brokers(brokers)
            self._kafka = kafka
            kafka.start()
            return kafka.bootstrap

        return begin

    def watch(self, progress: Callable[[str], None], metrics: ServerMetrics | None = None) -> None:
        """From now on, a server that ends is started again, with back-off. Once, after `start`.

        `progress` gets a line for each end and each start. The state is in the home's file.
        """
        if self._watch is not None:
            raise ValueError("the servers are watched already")

        def process(name: str) -> Watched:
            def start_again(cancelled: threading.Event) -> None:
                start = _STARTS[name]
                fds = self.inherited_fds
                self._servers[name], _ = start(self._home, self._ports, fds, _silent, cancelled=cancelled)

            return Watched(SERVERS[name], lambda: self._servers[name], start_again)

        def broker(node_id: int) -> Watched:
            kafka = self._own_kafka()
            return Watched(
                broker_name(node_id),
                lambda: kafka.server(node_id),
                lambda cancelled: kafka.start_broker(node_id, cancelled=cancelled),
            )

        brokers = range(1, self.brokers + 1)
        watched = [*map(broker, brokers), *map(process, self._servers)]
        self._watch = ServerWatch(watched, self._tell_states, progress, metrics=metrics)
        self._watch.start()

    def stop(self) -> None:
        """Returns once every server it started is gone. Stopping twice changes nothing."""
        if self._watch is not None:
            self._watch.stop()
            self._watch = None
        stops = [server.stop for server in self._servers.values()]
        if self._kafka is not None:
            stops.append(self._kafka.stop)
        self._servers, self._kafka = {}, None
        if stops:
            with ThreadPoolExecutor(len(stops), "embedded-stop") as pool:
                stopping = [pool.submit(stop) for stop in stops]
            for future in stopping:
                future.result()
            self._home.servers_file.unlink(missing_ok=True)
            self._home.server_states_file.unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    @property
    def inherited_fds(self) -> tuple[int, ...]:
        """What a process that uses the home is to hold open: the home is free once all of them have ended."""
        return () if self._lock is None else (self._lock.descriptor,)

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of the servers it started and that run: `kafka-1`, ..., `postgres`, `valkey`."""
        brokers = {} if self._kafka is None else self._kafka.pids
        return {broker_name(node_id): pid for node_id, pid in brokers.items()} | {
            SERVERS[name]: server.pid for name, server in self._servers.items() if server.alive
        }

    @property
    def brokers(self) -> int:
        """How many Kafka brokers it started; 0 where Kafka was given by its URL."""
        return 0 if self._kafka is None else self._kafka.count

    def kill_broker(self, *node_ids: int) -> None:
        """SIGKILL, to all of them at once; returns once they are gone. Raises KeyError for an unknown one."""
        if self._watch is not None:
            for node_id in node_ids:
                self._watch.hold(broker_name(node_id))
        self._own_kafka().kill_broker(*node_ids)
        self._tell()

    def start_broker(self, *node_ids: int) -> None:
        """Starts those that do not run, together; returns once they are back in the cluster.

        With these, a majority must run. Raises CannotStart, and KeyError for an unknown one.
        """
        self._own_kafka().start_broker(*node_ids)
        if self._watch is not None:
            for node_id in node_ids:
                self._watch.release(broker_name(node_id))
        self._tell()

    def controller_id(self) -> int | None:
        """Node id of the active controller; None while there is none."""
        return self._own_kafka().controller_id()

    def _own_kafka(self) -> Kafka:
        if self._kafka is None:
            raise KeyError(f"no broker runs here: {KAFKA_ENV} names others, or the stack is stopped")
        return self._kafka

    def _tell(self) -> None:
        """Writes who runs where an operator and a test can read it."""
        file = self._home.servers_file
        unfinished = file.with_name(f"{file.name}.{os.getpid()}")
        unfinished.write_text(f"{json.dumps(self.pids, indent=2)}\n")
        unfinished.replace(file)

    def _tell_states(self, states: Mapping[str, ServerState]) -> None:
        self._tell()
        state_file.write(self._home.server_states_file, Servers(os.getpid(), dict(states)))

    def __enter__(self) -> ServerUrls:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def broker_name(node_id: int) -> str:
    return f"kafka-{node_id}"


def _silent(_line: str) -> None:
    return None
