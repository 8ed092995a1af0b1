"""SIGTERM while the servers stand still: every process ends by itself all the same."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ops.chaos import run
from ops.embedded.home import Home
from tests.support.ports import free_ports


@pytest.mark.full
@pytest.mark.timeout(400)
def test_each_process_ends_within_its_grace(tmp_path: Path) -> None:
    env = {**os.environ, "QUIZSTREAM_PORT_BASE": str(free_ports(blocks=2).base)}
    with run.running(Home(tmp_path / "home"), env, print) as subject:
        supervisor, names = subject.crew.supervisor, subject.crew.names
        broker = subject.servers.kafka.server(1).pid
        os.kill(broker, signal.SIGSTOP)
        try:
            with ThreadPoolExecutor(len(names)) as pool:
                list(pool.map(supervisor.pause, names))  # SIGTERM, and SIGKILL after the grace
            exits = {name: supervisor.states()[name].last_exit for name in names}
        finally:
            os.kill(broker, signal.SIGCONT)
    killed = [name for name, status in exits.items() if status == -signal.SIGKILL]
    assert not killed, exits
