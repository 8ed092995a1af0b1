"""What the state file of the watched servers holds (`ops.state_file`)."""

from __future__ import annotations

import signal

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
