"""`make run`: each embedded server is killed under load and comes back by itself; the ledger holds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO

import msgspec
import pytest

from ops import state_file
from ops.deployment.doctor import Finding
from ops.embedded.home import Home
from ops.embedded.server_state import Servers, ServerState
from ops.embedded.stack import SERVERS, ServerUrls
from ops.processes.process_state import State
from pipeline.runtime.ports import Ports
from tests.support.ports import free_ports
from tests.support.running_pipeline import COMMAND_TIMEOUT_S, until

# Kafka first: clients cannot hand in anything meanwhile, so that the others are killed under load as well.
IN_TURN = ("kafka-1", "postgres", "valkey")


@pytest.mark.full  # the short fault run kills a server, too, which comes back by its watch
@pytest.mark.xdist_group("faults")
@pytest.mark.timeout(600)
def test_each_server_that_is_killed_under_load_comes_back(stack: ServerUrls, tmp_path: Path) -> None:
    home, ports = Home(tmp_path / "home"), free_ports()
    env = {key: value for key, value in os.environ.items() if key not in SERVERS}
    env |= {"QUIZSTREAM_HOME": str(home.path), "QUIZSTREAM_PORT_BASE": str(ports.base)}
    with running(env) as (owner, lines):
        until(lambda: shown(lines, "Replaying") or owner.poll() is not None, "the load begins")
        for name in IN_TURN:
            before = state(home, name)
            assert before.pid is not None
            os.kill(before.pid, signal.SIGKILL)
            until(partial(ready_again, home, name), f"{name} is started again")
            until(partial(shown, lines, f"{name} is ready again"), "the view says so")
            assert shown(lines, f"{name} ended (SIGKILL), restart 1 in ")

        until(lambda: shown(lines, "Serving until") or owner.poll() is not None, "the ledger is audited")
        found = doctor(env)
        for name in IN_TURN:
            check = found[name.partition("-")[0]]
            assert check.ok, check
            assert f"{name} ended " in check.detail
            assert "(SIGKILL), 1 restarts, runs again" in check.detail
            assert f'quizstream_server_restarts_total{{server="{name}"}} 1.0' in metrics(ports)
        owner.send_signal(signal.SIGTERM)
        assert owner.wait(COMMAND_TIMEOUT_S) == 0, "\n".join(lines)  # 1 where the ledger does not hold


@contextmanager
def running(env: dict[str, str]) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """`quizstream run`, as `make run` calls it, and what it shows."""
    owner = subprocess.Popen(
        [sys.executable, "-m", "ops.cli", "run"],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines: list[str] = []
    assert owner.stdout is not None
    reading = threading.Thread(target=read, args=(owner.stdout, lines), daemon=True)
    reading.start()
    try:
        yield owner, lines
    finally:
        if owner.poll() is None:
            owner.send_signal(signal.SIGTERM)
            owner.wait(COMMAND_TIMEOUT_S)
        reading.join()
        print("".join(lines))


def read(output: IO[str], lines: list[str]) -> None:
    for line in output:
        lines.append(line)


def shown(lines: list[str], text: str) -> bool:
    return any(text in line for line in list(lines))


def state(home: Home, name: str) -> ServerState:
    told = state_file.read(home.server_states_file, Servers)
    assert told is not None
    return told.servers[name]


def ready_again(home: Home, name: str) -> bool:
    now = state(home, name)
    return now.restarts == 1 and now.state is State.READY


def doctor(env: dict[str, str]) -> dict[str, Finding]:
    done = subprocess.run(
        [sys.executable, "-m", "ops.cli", "doctor", "--json"],
        env=env,
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
    )
    return {one.name: one for one in msgspec.json.decode(done.stdout, type=list[Finding])}


def metrics(ports: Ports) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{ports.supervisor_metrics}/metrics", timeout=10) as reply:
        return str(reply.read().decode())
