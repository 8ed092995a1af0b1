"""Processes that end are started again, later and later, and everybody can see it."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from ops import state_file
from ops.processes.metrics import Metrics
from ops.processes.process_state import Processes, ProcessState, State
from ops.processes.supervisor import HEALTHY_AFTER_S, ProcessSpec, Supervisor
from pipeline.runtime.backoff import Backoff
from tests.support.processes import still_there, wait_until

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
QUIT = [sys.executable, "-c", "print('gone again'); raise SystemExit(3)"]


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Stage:
    """A supervisor that is stepped by hand, on a clock that is moved by hand."""

    def __init__(self, folder: Path, *specs: ProcessSpec) -> None:
        self.clock = Clock()
        self.state_file = folder / "processes.json"
        self.logs = folder / "logs"
        self.registry = CollectorRegistry()
        self.supervisor = Supervisor(
            specs,
            self.logs,
            state_file=self.state_file,
            clock=self.clock,
            metrics=Metrics(self.registry),
            stop_grace_s=30,
        )
        self.supervisor.launch_all()

    def state(self, name: str) -> ProcessState:
        """As the file says it, which must be what the supervisor knows."""
        told = state_file.read(self.state_file, Processes)
        assert told is not None
        assert told.supervisor_pid == os.getpid()
        assert told.processes == self.supervisor.states()
        return told.processes[name]

    def step_until(self, wanted: Callable[[], bool]) -> None:
        for _ in range(100_000):
            self.supervisor.step()
            if wanted():
                return
        raise AssertionError("never came")

    def step_until_ended(self, name: str) -> None:
        self.step_until(lambda: self.state(name).state is State.WAITING)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    stages: list[Stage] = []

    def make(*specs: ProcessSpec) -> Stage:
        stages.append(Stage(tmp_path, *specs))
        return stages[-1]

    yield make
    for one in stages:
        one.supervisor.stop()


def test_a_killed_process_is_started_again_after_its_back_off(stage: Callable[..., Stage]) -> None:
    one = stage(ProcessSpec("sleeper", SLEEP))
    one.supervisor.step()
    first = one.state("sleeper")
    assert (first.state, first.restarts) == (State.READY, 0)

    one.supervisor.kill("sleeper")
    one.step_until_ended("sleeper")
    assert one.state("sleeper").pid is None
    assert one.state("sleeper").last_exit == -signal.SIGKILL

    one.clock.now_s += 0.49
    one.supervisor.step()
    assert one.state("sleeper").state is State.WAITING

    one.clock.now_s += 0.02
    one.supervisor.step()
    second = one.state("sleeper")
    assert second.restarts == 1
    assert second.pid not in (None, first.pid)
    assert psutil.pid_exists(second.pid or 0)
    assert one.registry.get_sample_value("quizstream_process_restarts_total", {"process": "sleeper"}) == 1


def test_a_process_that_keeps_ending_is_started_less_and_less_often(stage: Callable[..., Stage]) -> None:
    one = stage(ProcessSpec("quitter", QUIT))
    waits_s = []
    for starts in range(1, 9):
        one.step_until_ended("quitter")
        ended_s = one.clock.now_s
        while one.state("quitter").restarts < starts:
            one.clock.now_s += 0.25
            one.supervisor.step()
        waits_s.append(one.clock.now_s - ended_s)
    assert waits_s == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert one.state("quitter").last_exit == 3
    assert "gone again" in (one.logs / "quitter.log").read_text()


def test_a_process_is_ready_only_once_it_says_so(stage: Callable[..., Stage]) -> None:
    answers = iter([False, False, True])
    one = stage(ProcessSpec("slow", SLEEP, ready=lambda: next(answers)))
    seen = []
    for _ in range(3):
        one.supervisor.step()
        seen.append(one.state("slow").state)
        one.clock.now_s += 1
    assert seen == [State.STARTING, State.STARTING, State.READY]


def test_a_paused_process_stays_stopped_until_it_is_resumed(stage: Callable[..., Stage]) -> None:
    one = stage(ProcessSpec("sleeper", SLEEP), ProcessSpec("other", SLEEP))
    one.supervisor.pause("sleeper")
    one.clock.now_s += 3600
    one.supervisor.step()
    assert (one.state("sleeper").state, one.state("sleeper").pid) == (State.PAUSED, None)
    assert one.state("other").state is State.READY
    one.supervisor.resume("sleeper")
    one.supervisor.step()
    assert one.state("sleeper").state is State.READY


def test_stopping_asks_first_and_leaves_no_process(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    polite = (
        "import pathlib, signal, sys, time\n"
        "def stop(*_): pathlib.Path(sys.argv[1]).touch(); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "pathlib.Path(sys.argv[1] + '.up').touch()\n"
        "time.sleep(600)\n"
    )
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    supervisor = Supervisor(
        [
            ProcessSpec("polite", [sys.executable, "-c", polite, str(asked)]),
            ProcessSpec("deaf", [sys.executable, "-c", deaf]),
        ],
        tmp_path / "logs",
        stop_grace_s=3,
    )
    supervisor.start()
    assert supervisor.wait_ready(60) == []
    wait_until((tmp_path / "asked.up").exists, "the process")
    processes = [psutil.Process(told.pid) for told in supervisor.states().values() if told.pid is not None]
    supervisor.stop()
    assert asked.exists()
    assert len(processes) == 2
    assert still_there(processes) == []
    assert {told.state for told in supervisor.states().values()} == {State.STOPPED}


def test_a_supervisor_of_its_own_accord_restarts_the_dead(tmp_path: Path) -> None:
    again = tmp_path / "again"
    once = (
        "import pathlib, sys, time; flag = pathlib.Path(sys.argv[1])\n"
        "if not flag.exists(): flag.touch(); sys.exit(1)\n"
        "flag.with_suffix('.up').touch(); time.sleep(600)\n"
    )
    supervisor = Supervisor(
        [ProcessSpec("once", [sys.executable, "-c", once, str(again)])],
        tmp_path / "logs",
        backoff=lambda: Backoff(first_s=0.01),
    )
    supervisor.start()
    wait_until(again.with_suffix(".up").exists, "the second start")
    assert supervisor.states()["once"].restarts == 1
    supervisor.stop()


def test_waiting_names_what_is_not_ready(tmp_path: Path) -> None:
    never = ProcessSpec("never", SLEEP, ready="http://127.0.0.1:9/health/ready")
    supervisor = Supervisor([never, ProcessSpec("sleeper", SLEEP)], tmp_path / "logs")
    supervisor.start()
    assert supervisor.wait_ready(60, ["sleeper"]) == []
    assert supervisor.wait_ready(0.1) == ["never"]
    supervisor.stop()


@given(st.lists(st.booleans(), max_size=12))
def test_a_run_that_was_healthy_resets_the_delay_before_the_next_start(healthy: list[bool]) -> None:
    now_s = 0.0
    with tempfile.TemporaryDirectory() as folder:
        supervisor = Supervisor(
            [ProcessSpec("one", SLEEP)],
            Path(folder),
            clock=lambda: now_s,
            backoff=lambda: Backoff(0.5, 30.0, jitter_ratio=0.0),
        )
        one = supervisor._all["one"]
        before_s = 0.0
        for long_run in healthy:
            now_s += HEALTHY_AFTER_S if long_run else HEALTHY_AFTER_S - 1.0
            supervisor._ended(one, 1, now_s)
            delay_s = one.start_due_s - now_s
            assert delay_s == pytest.approx(0.5 if long_run or before_s == 0.0 else min(2 * before_s, 30.0))
            before_s = delay_s
            one.started_at_s = now_s
