"""Keeps the processes of one home running.

Established supervisors lack what is needed here: circus requires zmq, tornado and a control socket;
supervisord has no parent-death signal, so that a killed supervisor leaves its children behind, and a linear
back-off that never resets.

This one has:

- children that cannot outlive it (`ops.processes.tether`);
- a back-off that resets, restart counts as a metric, log files with a limit, a state file;
- pause, resume and kill by name, for operators and fault tests.

One thread calls `step()` repeatedly. Only `pause` and `stop` wait for a process to end.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ops import state_file
from ops.processes import tether
from ops.processes.bounded_log import BoundedLog
from ops.processes.metrics import Metrics
from ops.processes.process_state import Processes, ProcessState, State
from pipeline.runtime.backoff import Backoff

STOP_GRACE_S = 10.0
STEP_S = 0.1
READY_PROBE_S = 0.2  # between two looks at a process that is not ready yet
READY_TIMEOUT_S = 1.0  # of one look over HTTP
RESTART_FIRST_S = 0.5
RESTART_LONGEST_S = 30.0
HEALTHY_AFTER_S = 30.0  # a process that ran this long is started again with the first delay


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One process to keep running.

    `env` is added to the supervisor's own. `ready` is a URL that answers 200, a callable that must not block
    long, or None: ready as soon as it runs. After each start it is asked until it says yes once. A process of
    more `niceness` stands behind others.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[], bool] | str | None = None
    cwd: Path | None = None
    niceness: int = 0


def restart_backoff() -> Backoff:
    """The delays between two starts of one process; without jitter, since each process has its own."""
    return Backoff(RESTART_FIRST_S, RESTART_LONGEST_S, jitter_ratio=0.0)


class _Supervised:
    """One process and what is known of it. Only touched by the thread that steps."""

    def __init__(self, spec: ProcessSpec, backoff: Backoff) -> None:
        self.spec = spec
        self.backoff = backoff
        self.child: subprocess.Popen[bytes] | None = None
        self.log: BoundedLog | None = None
        self.state = State.STOPPED
        self.started_at_s = 0.0
        self.start_due_s = 0.0
        self.probe_due_s = 0.0
        self.starts = 0
        self.last_exit: int | None = None

    @property
    def told(self) -> ProcessState:
        pid = None if self.child is None else self.child.pid
        return ProcessState(self.state, pid, max(0, self.starts - 1), self.last_exit)


class Supervisor:
    def __init__(
        self,
        specs: Sequence[ProcessSpec],
        log_dir: Path,
        *,
        state_file: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
        backoff: Callable[[], Backoff] = restart_backoff,
        metrics: Metrics | None = None,
        stop_grace_s: float = STOP_GRACE_S,
        inherited_fds: Sequence[int] = (),
    ) -> None:
        """`clock` gives seconds that never go back. Children hold `inherited_fds` open (the home's lock)."""
        self._all = {spec.name: _Supervised(spec, backoff()) for spec in specs}
        self._log_dir = log_dir
        self._state_file = state_file
        self._clock = clock
        self._metrics = metrics
        self._stop_grace_s = stop_grace_s
        self._inherited_fds = inherited_fds
        self._changed = threading.Condition(threading.RLock())
        self._running = threading.Event()
        self._thread: threading.Thread | None = None
        self._written: dict[str, ProcessState] | None = None

    def start(self) -> None:
        """Starts every process, in the order of the specs, and keeps them running until `stop`."""
        self.launch_all()
        self._running.set()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._thread.start()

    def launch_all(self) -> None:
        """The first start of every process. Then `step` is to be called again and again, as `start` does."""
        with self._changed:
            for one in self._all.values():
                self._launch(one)
            self._tell()

    def step(self) -> None:
        """Looks at every process once: notices the ended, starts the due, asks the unready."""
        with self._changed:
            now_s = self._clock()
            unready: list[tuple[_Supervised, subprocess.Popen[bytes]]] = []
            for one in self._all.values():
                if one.child is not None and (status := one.child.poll()) is not None:
                    self._ended(one, status, now_s)
                if one.state is State.WAITING and now_s >= one.start_due_s:
                    self._launch(one)
                if one.state is State.STARTING and one.child is not None and now_s >= one.probe_due_s:
                    one.probe_due_s = now_s + READY_PROBE_S
                    unready.append((one, one.child))
            self._tell()
        # Without the lock: a slow answer must not hold up a kill or a pause.
        answers = [(one, child) for one, child in unready if _is_ready(one.spec.ready)]
        with self._changed:
            for one, child in answers:
                if one.child is child and one.state is State.STARTING:
                    one.state = State.READY
            self._tell()

    def wait_ready(self, timeout_s: float, names: Sequence[str] | None = None) -> list[str]:
        """Waits until the named processes (default: all) are ready. Returns those that are not by then."""
        wanted = list(self._all if names is None else names)
        with self._changed:
            self._changed.wait_for(lambda: not self._unready(wanted), timeout_s)
            return self._unready(wanted)

    def states(self) -> dict[str, ProcessState]:
        with self._changed:
            return {name: one.told for name, one in self._all.items()}

    def kill(self, name: str, how: signal.Signals = signal.SIGKILL) -> None:
        """Sends `how` to a running process; it is then treated like any that ended. Raises KeyError."""
        with self._changed:
            child = self._all[name].child
            if child is not None:
                child.send_signal(how)

    def pause(self, name: str) -> None:
        """Stops a process and leaves it stopped until `resume`. Returns once it is gone. Raises KeyError."""
        with self._changed:
            one = self._all[name]
            one.state = State.PAUSED
            child = one.child
        if child is not None:
            tether.stop(child, first=signal.SIGTERM, grace_s=self._stop_grace_s)
        with self._changed:
            if one.child is child and child is not None:
                self._ended(one, child.wait(), self._clock())
            self._tell()

    def resume(self, name: str) -> None:
        """Starts a paused process at once, without back-off. Raises KeyError."""
        with self._changed:
            one = self._all[name]
            if one.state is State.PAUSED and one.child is None:
                self._launch(one)
                self._tell()

    def stop(self) -> None:
        """SIGTERM to all at once, SIGKILL to whoever is left after the grace. Returns once all are gone."""
        self._running.clear()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        with self._changed:
            children = [one.child for one in self._all.values() if one.child is not None]
            for child in children:
                if child.poll() is None:
                    child.send_signal(signal.SIGTERM)
            deadline_s = time.monotonic() + self._stop_grace_s
            for child in children:
                try:
                    child.wait(max(0.0, deadline_s - time.monotonic()))
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()
            for one in self._all.values():
                if one.child is not None:
                    self._ended(one, one.child.wait(), self._clock())
                one.state = State.STOPPED
            self._tell()

    def _run(self) -> None:
        while self._running.is_set():
            self.step()
            time.sleep(STEP_S)

    def _unready(self, names: Sequence[str]) -> list[str]:
        return [name for name in names if self._all[name].state is not State.READY]

    def _launch(self, one: _Supervised) -> None:
        log = BoundedLog(self._log_dir / f"{one.spec.name}.log")
        try:
            one.child = tether.spawn(
                one.spec.argv,
                cwd=one.spec.cwd or Path.cwd(),
                env={**os.environ, "PYTHONUNBUFFERED": "1", **one.spec.env},
                output=log.write_end,
                niceness=one.spec.niceness,
                inherited_fds=self._inherited_fds,
            )
        except OSError as error:
            print(f"supervisor: cannot start {one.spec.name}: {error}", file=sys.stderr)
        finally:
            log.child_started()
        one.log = log
        one.started_at_s = one.probe_due_s = self._clock()
        one.state = State.STARTING
        one.starts += 1
        if one.child is None:
            self._ended(one, None, one.started_at_s)
        if self._metrics is not None:
            self._metrics.restarts.labels(one.spec.name).inc(0 if one.starts == 1 else 1)

    def _ended(self, one: _Supervised, status: int | None, now_s: float) -> None:
        one.child = None
        one.last_exit = status
        if one.state is not State.PAUSED:
            one.state = State.WAITING
            if now_s - one.started_at_s >= HEALTHY_AFTER_S:
                one.backoff.after_success()
            one.start_due_s = now_s + one.backoff.after_failure_s()

    def _tell(self) -> None:
        told = {name: one.told for name, one in self._all.items()}
        if told == self._written:
            return
        self._written = told
        if self._metrics is not None:
            for name, process in told.items():
                self._metrics.up.labels(name).set(process.state is State.READY)
        if self._state_file is not None:
            try:
                state_file.write(self._state_file, Processes(os.getpid(), told))
            except OSError as error:
                # A full disk must not stop the watch over the processes.
                print(f"supervisor: cannot write {self._state_file}: {error}", file=sys.stderr)
                self._written = None
        self._changed.notify_all()


def _is_ready(ready: Callable[[], bool] | str | None) -> bool:
    if ready is None:
        return True
    if callable(ready):
        return ready()
    try:
        with urllib.request.urlopen(ready, timeout=READY_TIMEOUT_S) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False
