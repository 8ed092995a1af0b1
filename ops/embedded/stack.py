"""The three servers as one thing that starts, tells its addresses and stops."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from ops.embedded import kafka, postgres, valkey
from ops.embedded.cannot_start import CannotStart
from ops.embedded.home import Home, HomeLock
from ops.embedded.ports import Ports, require_free
from ops.embedded.server import RunningServer

KAFKA_ENV = "KAFKA_BOOTSTRAP_SERVERS"
DATABASE_ENV = "DATABASE_URL"
REDIS_ENV = "REDIS_URL"


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
        kafka_heap_mib: int = kafka.HEAP_MIB_DEFAULT,
    ) -> None:
        self._home = Home(home.expanduser().absolute())
        self._ports = ports
        self._progress = progress or (lambda _line: None)
        self._env = os.environ if env is None else env
        self._kafka_heap_mib = kafka_heap_mib
        self._lock: HomeLock | None = None
        self._servers: dict[str, RunningServer] = {}

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
        starters: dict[str, Callable[[], tuple[RunningServer, str]]] = {
            KAFKA_ENV: lambda: kafka.start(home, ports, fds, progress, heap_mib=self._kafka_heap_mib),
            DATABASE_ENV: lambda: postgres.start(home, ports, fds, progress),
            REDIS_ENV: lambda: valkey.start(home, ports, fds, progress),
        }
        urls = {name: self._env[name] for name in starters if self._env.get(name)}
        # All ports before any server: a taken one is then told at once.
        for name, port, purpose in (
            (KAFKA_ENV, ports.kafka, "Kafka"),
            (KAFKA_ENV, ports.kafka_controller, "Kafka's controller"),
            (DATABASE_ENV, ports.postgres, "PostgreSQL"),
            (REDIS_ENV, ports.valkey, "Valkey"),
        ):
            if name not in urls:
                require_free(port, purpose)

        def start_one(name: str) -> None:
            self._servers[name], urls[name] = starters[name]()

        with ThreadPoolExecutor(len(starters), "embedded") as pool:
            starting = [pool.submit(start_one, name) for name in starters if name not in urls]
            try:
                wait(starting, return_when=FIRST_EXCEPTION)
            finally:
                # Whatever ends the wait early also ends what is still being fetched or awaited.
                if not all(future.done() for future in starting):
                    cancelled.set()
        failures = [error for future in starting if (error := future.exception()) is not None]
        if failures:
            raise next((error for error in failures if not isinstance(error, _Interrupted)), failures[0])
        return ServerUrls(urls[KAFKA_ENV], urls[DATABASE_ENV], urls[REDIS_ENV])

    def stop(self) -> None:
        """Returns once every server it started is gone. Stopping twice changes nothing."""
        servers, self._servers = list(self._servers.values()), {}
        if servers:
            with ThreadPoolExecutor(len(servers), "embedded-stop") as pool:
                stopping = [pool.submit(server.stop) for server in servers]
            for future in stopping:
                future.result()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    @property
    def inherited_fds(self) -> tuple[int, ...]:
        """What a process that uses the home is to hold open: the home is free once all of them have ended."""
        return () if self._lock is None else (self._lock.descriptor,)

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of the servers it started, by the environment variable that would replace them."""
        return {name: server.pid for name, server in self._servers.items()}

    def __enter__(self) -> ServerUrls:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
