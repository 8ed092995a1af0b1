"""CPU seconds by process, as the kernel counts them: children that have ended since are in their parent's."""

from __future__ import annotations

from collections.abc import Mapping

import psutil

from ops.embedded.home import Home
from ops.processes import process_state

SERVERS = {"java": "kafka", "postgres": "postgres", "valkey-server": "valkey"}
OWNER = "supervisor"


class CpuClock:
    """The processes of one home's deployment, and any others by pid; servers elsewhere are not seen."""

    def __init__(self, home: Home, others: Mapping[str, int] | None = None) -> None:
        self._home = home
        self._others = dict(others or {})

    def read(self) -> dict[str, float]:
        """Name -> CPU seconds since its start, user and system, of all its threads and children."""
        found: dict[str, float] = {}
        for name, pid in self._others.items():
            found[name] = _with_children(pid)
        told = process_state.read(self._home.state_file)
        if told is None:
            return found
        for name, process in told.processes.items():
            if process.pid is not None:
                found[name] = _with_children(process.pid)
        try:
            owner = psutil.Process(told.supervisor_pid)
            found[OWNER] = _own(owner)
            for child in owner.children():
                server = SERVERS.get(child.name())
                if server is not None:
                    found[server] = found.get(server, 0.0) + _with_children(child.pid)
        except psutil.Error:
            return found
        return found


def between(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """What each process used in between, the largest first; one that was started anew counts from then."""
    used = {
        name: round(at - before.get(name, 0.0) if at >= before.get(name, 0.0) else at, 2)
        for name, at in after.items()
    }
    return dict(sorted(used.items(), key=lambda each: -each[1]))


def _own(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _with_children(pid: int) -> float:
    total = 0.0
    try:
        process = psutil.Process(pid)
        times = process.cpu_times()
        total = times.user + times.system + times.children_user + times.children_system
        for child in process.children(recursive=True):
            try:
                total += _own(child)
            except psutil.Error:
                continue
    except psutil.Error:
        return total
    return total
