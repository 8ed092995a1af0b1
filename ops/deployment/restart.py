"""Restarts processes of a running home one after the other, each only while all others serve.

The supervisor starts again what ends; this ends one process, waits until its successor is ready, and only
then continues. So a new version or new settings are taken without an interruption.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
import psutil

from ops import state_file
from ops.embedded.home import Home, is_alive
from ops.processes.process_state import Processes, ProcessState, State
from ops.processes.table import EDGE
from pipeline.errors import OperatorError
from sinks.postgres.audit_log import record
from sinks.postgres.connect import Connection

EDGES = "edges"
ACTION = "process.restart"
READY_TIMEOUT_S = 120.0  # of one process: its stop, the supervisor's back-off, its start
POLL_S = 0.1


class CannotRestart(OperatorError):
    """A process was not restarted, or did not become ready; the others were left as they are."""


@dataclass(frozen=True)
class Waiting:
    """How it waits. `settle_s`: after each of several, until a load balancer uses it again."""

    settle_s: float
    ready_timeout_s: float = READY_TIMEOUT_S
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def names_of(processes: Processes, which: str) -> list[str]:
    """Return the edges in order, or the one process of this name. Raises CannotRestart."""
    every = list(processes.processes)
    if which == EDGES:
        return [name for name in every if name == EDGE or name.startswith(f"{EDGE}-")]
    if which not in every:
        raise CannotRestart(f"There is no process {which!r}: choose {EDGES} or one of {', '.join(every)}.")
    return [which]


def running(home: Home) -> Processes:
    """Return the states of the home's processes. Raises CannotRestart without a supervisor that runs."""
    try:
        found = state_file.read(home.state_file, Processes)
    except msgspec.DecodeError as error:
        raise CannotRestart(f"{home.state_file} cannot be read ({error}): is this the right home?") from None
    if found is None or not is_alive(found.supervisor_pid):
        raise CannotRestart(f"No supervisor runs in {home.path}: start it with `quizstream up`.")
    return found


def restart(
    home: Home,
    connection: Connection,
    actor: str,
    which: str,
    waiting: Waiting,
    say: Callable[[str], None],
) -> list[str]:
    """Restart one process, or all edges in turn; return their names once the last is ready.

    The entry in the audit log is written before the first one ends. Raises CannotRestart: nothing is ended
    while another process of the same group is not ready, and nothing more after one that does not come back.
    """
    names = names_of(running(home), which)
    _require_ready(running(home), names)
    with connection.transaction():
        record(connection, actor, ACTION, which, processes=names)
    for number, name in enumerate(names):
        before = _require_ready(running(home), names)[name]
        _end(home, name, before)
        _await(home, name, before, waiting)
        say(f"{name}: restarted ({number + 1} of {len(names)})")
        if number + 1 < len(names):
            waiting.sleep(waiting.settle_s)
    return names


def _require_ready(processes: Processes, names: Sequence[str]) -> dict[str, ProcessState]:
    states = {name: processes.processes[name] for name in names}
    unready = [name for name, state in states.items() if state.state is not State.READY]
    if unready:
        raise CannotRestart(
            f"Not ready: {', '.join(unready)}. Nothing more is restarted; see `quizstream doctor`."
        )
    return states


def _end(home: Home, name: str, state: ProcessState) -> None:
    """Send SIGTERM, after a check that the id is still that of the supervisor's child."""
    supervisor_pid = running(home).supervisor_pid
    ended = CannotRestart(f"{name} has just ended by itself; repeat the command when it is ready.")
    try:
        if state.pid is None or psutil.Process(state.pid).ppid() != supervisor_pid:
            raise ended
        os.kill(state.pid, signal.SIGTERM)
    except (psutil.NoSuchProcess, ProcessLookupError):
        raise ended from None
    except (psutil.AccessDenied, PermissionError):
        raise CannotRestart(f"{name} runs as another user; repeat the command as that user.") from None


def _await(home: Home, name: str, before: ProcessState, waiting: Waiting) -> None:
    give_up_at_s = waiting.clock() + waiting.ready_timeout_s
    while True:
        now = running(home).processes[name]
        if now.pid != before.pid and now.restarts > before.restarts and now.state is State.READY:
            return
        if waiting.clock() > give_up_at_s:
            raise CannotRestart(
                f"{name} is not ready after {waiting.ready_timeout_s:.0f} s ({now.state.value}, last exit "
                f"{now.last_exit}): read {home.logs / name}.log. Nothing more is restarted."
            )
        waiting.sleep(POLL_S)
