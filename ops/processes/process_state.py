"""The supervisor's state file of its processes, read by `doctor` and tests."""

from __future__ import annotations

import enum
import os
from pathlib import Path

import msgspec


class State(enum.StrEnum):
    STARTING = "starting"  # runs, not yet ready
    READY = "ready"
    WAITING = "waiting"  # ended; will be started again after its back-off
    PAUSED = "paused"  # held by an operator or a test, not started again until resumed
    STOPPED = "stopped"


class ProcessState(msgspec.Struct, frozen=True):
    """`pid` is None when no process runs. `restarts` counts starts after the first, of this supervisor."""

    state: State
    pid: int | None
    restarts: int
    last_exit: int | None = None  # as subprocess says it: negative is the signal that ended it


class Processes(msgspec.Struct, frozen=True):
    supervisor_pid: int
    processes: dict[str, ProcessState]


def write(path: Path, processes: Processes) -> None:
    """Replaces the file as a whole: a reader never sees half of it."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    unfinished.write_bytes(msgspec.json.format(msgspec.json.encode(processes), indent=2))
    unfinished.replace(path)


def read(path: Path) -> Processes | None:
    """None when no supervisor has written there. Raises msgspec.DecodeError when it is not such a file."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Processes)
    except FileNotFoundError:
        return None
