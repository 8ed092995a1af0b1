"""Keeps embedded servers running: one that ends by itself is started again, with back-off.

The supervisor of processes (`ops.processes.supervisor`) looks at all its processes in one thread. A server
takes seconds until it is ready, so that each has a thread here: PostgreSQL does not wait for Kafka.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ops.embedded.server import RunningServer
from ops.embedded.server_state import ServerState, exit_text
from ops.processes.metrics import ServerMetrics
from ops.processes.process_state import State
from pipeline.errors import CannotStart
from pipeline.runtime.backoff import Backoff

LOOK_EVERY_S = 0.1
RESTART_FIRST_S = 0.5
RESTART_LONGEST_S = 30.0
HEALTHY_AFTER_S = 60.0  # a server that served this long is started again with the first delay
PROBLEM_CHARACTERS_MAX = 300  # of a failed start, in the state file

log = logging.getLogger(__name__)


def restart_backoff() -> Backoff:
    """The delays between two starts of one server; without jitter, since each server has its own."""
    return Backoff(RESTART_FIRST_S, RESTART_LONGEST_S, jitter_ratio=0.0)


@dataclass(frozen=True, slots=True)
class Watched:
    """A server to keep running. `running` is the process of the last start.

    `start_again` returns once the server is ready. It gives up soon after the event is set. It raises
    CannotStart; then no process of it is left.
    """

    name: str
    running: Callable[[], RunningServer]
    start_again: Callable[[threading.Event], None]


class _One:
    """One server and what is known of it. `lock` is held during a start."""

    def __init__(self, watched: Watched, backoff: Backoff, now_s: float) -> None:
        self.watched = watched
        self.backoff = backoff
        self.lock = threading.Lock()
        self.state = State.READY
        self.ready_since_s = now_s
        self.ended_s = now_s
        self.start_due_s = now_s
        self.restarts = 0
        self.last_exit: int | None = None
        self.ended_at_s: float | None = None
        self.next_start_at_s: float | None = None
        self.problem = ""

    def told(self) -> ServerState:
        server = self.watched.running()
        return ServerState(
            self.state,
            server.pid if server.alive else None,
            self.restarts,
            self.last_exit,
            self.ended_at_s,
            self.next_start_at_s,
            self.problem,
        )


class ServerWatch:
    def __init__(
        self,
        servers: Sequence[Watched],
        told: Callable[[Mapping[str, ServerState]], None],
        progress: Callable[[str], None],
        *,
        metrics: ServerMetrics | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        backoff: Callable[[], Backoff] = restart_backoff,
    ) -> None:
        """All servers run. `told` gets every change of a state, `progress` a line for people."""
        self._clock, self._wall_clock = clock, wall_clock
        self._all = {one.name: _One(one, backoff(), clock()) for one in servers}
        self._told, self._progress, self._metrics = told, progress, metrics
        self._telling = threading.Lock()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Looks at every server again and again until `stop`."""
        self._tell()
        for name in self._all:
            thread = threading.Thread(target=self._run, args=(name,), name=f"watch-{name}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Returns once nothing is started any more."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._threads = []

    def look(self, name: str) -> None:
        """Looks at one server: notices that it ended, starts it when that is due. Waits for that start."""
        one = self._all[name]
        with one.lock:
            if one.state is State.READY and not one.watched.running().alive:
                self._ended(one)
            if one.state is State.WAITING and self._clock() >= one.start_due_s:
                self._start_again(one)

    def hold(self, name: str) -> None:
        """From now on its end is intended: it is not started again until `release`. Raises KeyError."""
        one = self._all[name]
        with one.lock:
            one.state = State.PAUSED
        self._tell()

    def release(self, name: str) -> None:
        """It runs again, or is to: it is watched. Raises KeyError."""
        one = self._all[name]
        with one.lock:
            one.state = State.READY
            one.ready_since_s = self._clock()
        self._tell()

    def states(self) -> dict[str, ServerState]:
        return {name: one.told() for name, one in self._all.items()}

    def _run(self, name: str) -> None:
        while not self._stopping.wait(LOOK_EVERY_S):
            self.look(name)

    def _ended(self, one: _One) -> None:
        one.last_exit = one.watched.running().exit_status
        one.ended_s, one.ended_at_s = self._clock(), self._wall_clock()
        if one.ended_s - one.ready_since_s >= HEALTHY_AFTER_S:
            one.backoff.after_success()
        one.problem = ""
        delay_s = self._wait(one)
        how = exit_text(one.last_exit)
        self._say(f"{one.watched.name} ended ({how}), restart {one.restarts + 1} in {delay_s:g} s")

    def _start_again(self, one: _One) -> None:
        one.state, one.next_start_at_s = State.STARTING, None
        one.restarts += 1
        if self._metrics is not None:
            self._metrics.restarts.labels(one.watched.name).inc()
        self._tell()
        try:
            one.watched.start_again(self._stopping)
        except Exception as error:
            if self._stopping.is_set():
                one.state = State.STOPPED
                return
            # Whatever it is: the watch over this server must not end with it.
            text = error.message if isinstance(error, CannotStart) else f"{type(error).__name__}: {error}"
            one.problem = " ".join(text.split())[:PROBLEM_CHARACTERS_MAX]
            delay_s = self._wait(one)
            self._say(f"{one.watched.name} did not start ({one.problem}), next try in {delay_s:g} s")
            return
        one.state, one.problem = State.READY, ""
        one.ready_since_s = self._clock()
        self._tell()
        after_s = one.ready_since_s - one.ended_s
        self._say(f"{one.watched.name} is ready again, {after_s:.1f} s after it ended")

    def _wait(self, one: _One) -> float:
        delay_s = one.backoff.after_failure_s()
        one.state = State.WAITING
        one.start_due_s = self._clock() + delay_s
        one.next_start_at_s = self._wall_clock() + delay_s
        self._tell()
        return delay_s

    def _say(self, line: str) -> None:
        log.warning("%s", line)
        self._progress(line)

    def _tell(self) -> None:
        with self._telling:
            states = self.states()
            if self._metrics is not None:
                for name, server in states.items():
                    self._metrics.up.labels(name).set(server.state is State.READY)
            try:
                self._told(states)
            except OSError as error:
                # A full disk must not stop the watch over the servers.
                log.warning("process %d cannot write the servers' state: %s", os.getpid(), error)
