"""An embedded server that ends is started again, later and later, and everybody can see it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
import psycopg
import pytest
import redis
from prometheus_client import CollectorRegistry

from ops import state_file
from ops.embedded.home import Home
from ops.embedded.server import Command, RunningServer
from ops.embedded.server_state import Servers, ServerState, exit_text
from ops.embedded.stack import EmbeddedStack, ServerUrls
from ops.embedded.watch import (
    HEALTHY_AFTER_S,
    RESTART_FIRST_S,
    RESTART_LONGEST_S,
    ServerWatch,
    Watched,
)
from ops.processes.metrics import ServerMetrics
from ops.processes.process_state import State
from pipeline.errors import CannotStart
from tests.support.ports import free_ports
from tests.support.processes import wait_until


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Sleeper:
    """A server that only sleeps; its next starts fail as often as `failures` has reasons."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.failures: list[str] = []
        self.server = self.launch()

    def launch(self) -> RunningServer:
        argv = [sys.executable, "-c", "import time; time.sleep(600)"]
        log = self.folder / "sleeper.log"
        return RunningServer(Command("sleeper", argv, self.folder, dict(os.environ), log), ())

    def start_again(self, _cancelled: threading.Event) -> None:
        if self.failures:
            raise CannotStart(self.failures.pop(0))
        self.server = self.launch()


class Stage:
    """A watch that looks when a test says so, on a clock that is moved by hand."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.registry = CollectorRegistry()
        self.sleeper = Sleeper(folder)
        self.told: dict[str, ServerState] = {}
        self.lines: list[str] = []
        self.watch = ServerWatch(
            [Watched("sleeper", lambda: self.sleeper.server, self.sleeper.start_again)],
            self.told.update,
            self.lines.append,
            metrics=ServerMetrics(self.registry),
            clock=self.clock,
            wall_clock=self.clock,
        )

    def end(self) -> None:
        self.sleeper.server.kill()
        self.watch.look("sleeper")

    def later(self, by_s: float) -> ServerState:
        self.clock.now_s += by_s
        self.watch.look("sleeper")
        return self.told["sleeper"]

    def metric(self, name: str) -> float | None:
        return self.registry.get_sample_value(f"quizstream_server_{name}", {"server": "sleeper"})


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.sleeper.server.kill()


def test_a_killed_server_is_started_again_after_its_back_off(stage: Stage) -> None:
    stage.end()
    waiting = stage.told["sleeper"]
    assert (waiting.state, waiting.pid, waiting.restarts) == (State.WAITING, None, 0)
    assert exit_text(waiting.last_exit) == "SIGKILL"
    assert waiting.next_start_at_s == stage.clock() + RESTART_FIRST_S
    assert stage.metric("up") == 0

    assert stage.later(RESTART_FIRST_S / 2).state is State.WAITING
    ready = stage.later(RESTART_FIRST_S / 2)
    assert (ready.state, ready.restarts, ready.next_start_at_s) == (State.READY, 1, None)
    assert ready.pid == stage.sleeper.server.pid
    assert (stage.metric("up"), stage.metric("restarts_total")) == (1, 1)
    assert stage.lines == [
        f"sleeper ended (SIGKILL), restart 1 in {RESTART_FIRST_S:g} s",
        f"sleeper is ready again, {RESTART_FIRST_S:.1f} s after it ended",
    ]


def test_a_start_that_fails_is_tried_again_later_and_later_within_a_bound(stage: Stage) -> None:
    stage.sleeper.failures = [f"port {number} is taken" for number in range(10)]
    stage.end()
    waits_s = []
    while stage.sleeper.failures:
        failed = stage.later(RESTART_LONGEST_S)
        assert failed.next_start_at_s is not None
        waits_s.append(failed.next_start_at_s - stage.clock())
        assert failed.problem.endswith("is taken")
    assert waits_s == sorted(waits_s)
    assert waits_s[0] < waits_s[-1] == RESTART_LONGEST_S
    assert stage.later(RESTART_LONGEST_S).problem == ""

    # One that ends again at once waits as long; one that was healthy does not.
    stage.end()
    assert stage.told["sleeper"].next_start_at_s == stage.clock() + RESTART_LONGEST_S
    stage.later(RESTART_LONGEST_S)
    stage.later(HEALTHY_AFTER_S)
    stage.end()
    assert stage.told["sleeper"].next_start_at_s == stage.clock() + RESTART_FIRST_S


def test_a_server_that_is_held_stays_away_until_it_is_released(stage: Stage) -> None:
    stage.watch.hold("sleeper")
    stage.end()
    assert stage.later(RESTART_LONGEST_S).state is State.PAUSED
    stage.watch.release("sleeper")
    assert stage.later(0).state is State.WAITING
    assert stage.later(RESTART_FIRST_S).state is State.READY


def test_postgres_and_valkey_come_back_while_sessions_of_the_killed_one_still_run(
    open_path: Path, stack: ServerUrls
) -> None:
    """A session in a long statement does not notice that its server ended: it would write beside the next."""
    given = {"KAFKA_BOOTSTRAP_SERVERS": stack.kafka_bootstrap}
    embedded = EmbeddedStack(open_path / "home", free_ports(), env=given)
    lines: list[str] = []
    with embedded as urls:
        embedded.watch(lines.append, ServerMetrics(CollectorRegistry()))
        with psycopg.connect(urls.database_url, autocommit=True) as connection:
            connection.execute("CREATE TABLE notes AS SELECT 'kept' AS note")
        busy = psycopg.connect(urls.database_url)
        session = psutil.Process(busy.info.backend_pid)
        # Stopped, as a session in a long computation is deaf.
        session.suspend()
        redis.Redis.from_url(urls.redis_url).set("note", "kept")
        before = embedded.pids
        for pid in before.values():
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: all_back(embedded.pids, before), "PostgreSQL and Valkey run again")
        wait_until(lambda: sum("ready" in line for line in lines) == 2, "both are ready")
        assert not session.is_running()
        with psycopg.connect(urls.database_url) as connection:
            assert connection.execute("SELECT note FROM notes").fetchone() == ("kept",)
        assert redis.Redis.from_url(urls.redis_url).ping()
        told = state_file.read(Home(open_path / "home").server_states_file, Servers)
        assert told is not None
        assert {name: server.pid for name, server in told.servers.items()} == embedded.pids
        assert {server.restarts for server in told.servers.values()} == {1}
        assert sorted(line.partition(" (")[0].partition(",")[0] for line in lines) == [
            "postgres ended",
            "postgres is ready again",
            "valkey ended",
            "valkey is ready again",
        ]
        # Nothing starts again what is stopped on purpose.
        last = embedded.pids
    assert not any(psutil.pid_exists(pid) for pid in last.values())
    busy.close()


def all_back(now: Mapping[str, int], before: Mapping[str, int]) -> bool:
    return now.keys() == before.keys() and not set(now.values()) & set(before.values())
