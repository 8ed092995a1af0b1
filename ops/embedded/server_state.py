"""The state file of the watched servers, read by `doctor` and tests."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import msgspec

from ops.processes.process_state import State


class ServerState(msgspec.Struct, frozen=True):
    """One server. `pid` is None when none runs. `restarts` counts starts after the first, of this owner.

    `problem`: why the last start failed; empty after one that succeeded. Times are seconds since the epoch.
    """

    state: State
    pid: int | None
    restarts: int = 0
    last_exit: int | None = None  # as subprocess has it: negative is the signal that ended it
    ended_at_s: float | None = None
    next_start_at_s: float | None = None
    problem: str = ""


class Servers(msgspec.Struct, frozen=True):
    owner_pid: int
    servers: dict[str, ServerState]


def write(path: Path, servers: Servers) -> None:
    """Replaces the file as a whole: a reader never sees half of it."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    unfinished.write_bytes(msgspec.json.format(msgspec.json.encode(servers), indent=2))
    unfinished.replace(path)


def read(path: Path) -> Servers | None:
    """None when no owner has written there. Raises msgspec.DecodeError when it is not such a file."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Servers)
    except FileNotFoundError:
        return None


def exit_text(status: int | None) -> str:
    """`SIGKILL`, `exit status 1`; `unknown exit` where no process could be made."""
    if status is None:
        return "unknown exit"
    if status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
