"""CPU seconds by process, as the kernel counts them; those of ended children are in their parent's."""

from __future__ import annotations

import time
from collections.abc import Container, Mapping

import psutil

from ops import state_file
from ops.embedded.home import Home
from ops.locate import Deployment
from ops.processes.process_state import Processes

SERVERS = {"java": "kafka", "postgres": "postgres", "valkey-server": "valkey"}
OWNER = "supervisor"


class CpuClock:
    """The processes of one deployment, and any others by pid; servers on other machines are not counted."""

    def __init__(
        self, found: Deployment, others: Mapping[str, int] | None = None, without: Container[str] = ()
    ) -> None:
        self._state_file = Home(found.settings.home).state_file
        self._others = dict(others or {})
        self._without = without

    def read(self) -> dict[str, float]:
        """Name -> CPU seconds since its start, user and system, of all its threads and children."""
        return {name: used for name, used in self._read().items() if name not in self._without}

    def _read(self) -> dict[str, float]:
        used = {name: _with_children(pid) for name, pid in self._others.items()}
        state = state_file.read(self._state_file, Processes)
        if state is None:
            return used
        for name, process in state.processes.items():
            if process.pid is not None:
                used[name] = _with_children(process.pid)
        try:
            owner = psutil.Process(state.supervisor_pid)
            used[OWNER] = own_s(owner)
            for child in owner.children():
                server = SERVERS.get(child.name())
                if server is not None:
                    used[server] = used.get(server, 0.0) + _with_children(child.pid)
        except psutil.Error:
            return used
        return used

    def during(self, begin: float, end: float) -> dict[str, float]:
        """Returns at `end` (seconds since the epoch) what each process used since `begin`."""
        sleep_until(begin)
        before = self.read()
        sleep_until(end)
        return between(before, self.read())


def sleep_until(at: float) -> None:
    """`at`: seconds since the epoch."""
    time.sleep(max(0.0, at - time.time()))


def between(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """CPU seconds by process, the largest first; a process that was restarted counts from its start."""
    used = {
        name: round(at - before.get(name, 0.0) if at >= before.get(name, 0.0) else at, 2)
        for name, at in after.items()
    }
    return dict(sorted(used.items(), key=lambda each: -each[1]))


def own_s(process: psutil.Process) -> float:
    """Without its children."""
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
                total += own_s(child)
            except psutil.Error:
                continue
    except psutil.Error:
        return total
    return total
