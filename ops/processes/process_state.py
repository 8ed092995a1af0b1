"""What the supervisor's state file of its processes holds (`ops.state_file`)."""

from __future__ import annotations

import enum

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
