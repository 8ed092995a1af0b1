"""`quizstream up --edges 3`: one edge is killed under load and comes back by itself; the ledger holds."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import msgspec
import pytest

from ops import state_file
from ops.deployment.doctor import Finding
from ops.embedded.home import Home
from ops.embedded.stack import SERVERS, ServerUrls
from ops.processes.process_state import Processes, ProcessState, State
from pipeline.runtime.ports import Ports
from tests.support.ports import free_ports
from tests.support.running_pipeline import COMMAND_TIMEOUT_S, until
from tests.support.scrapes import scrape

EDGES = ("edge", "edge-1", "edge-2")
KILLED = "edge-1"
VISITORS = 6
QUIZ = "bfi"  # of the demo


@pytest.mark.xdist_group("faults")
@pytest.mark.timeout(600)
def test_an_edge_that_is_killed_under_load_comes_back_and_nothing_is_lost(
    stack: ServerUrls, tmp_path: Path
) -> None:
    home, ports = Home(tmp_path / "home"), free_ports()
    env = {key: value for key, value in os.environ.items() if key not in SERVERS}
    env |= {"QUIZSTREAM_HOME": str(home.path), "QUIZSTREAM_PORT_BASE": str(ports.base)}
    try:
        up = quizstream(env, "up", "--demo", "--edges", str(len(EDGES)))
        assert up.returncode == 0, up.stdout + up.stderr
        accepted = killed_under_load(home, ports)
        found = doctor(env)
        assert found[KILLED].ok
        assert found[KILLED].detail.startswith(f"http://127.0.0.1:{ports.edge_own(1)}/")
        assert found[KILLED].detail.endswith("1 restarts")
        assert all(found[name].ok for name in EDGES)
        assert [name for name in found if name.startswith("edge")] == list(EDGES)
        file = tmp_path / "accepted.txt"
        file.write_text("".join(f"{completion_id}\n" for completion_id in accepted))
        books = quizstream(env, "reconcile", "--accepted", str(file), "--wait", "120")
        assert books.returncode == 0, books.stdout + books.stderr
    finally:
        quizstream(env, "down")


def killed_under_load(home: Home, ports: Ports) -> list[str]:
    """Kill one while visitors come, until it is ready and has clients again; return what was accepted."""
    accepted: list[str] = []
    stopping = threading.Event()

    def visit() -> None:
        while not stopping.is_set():
            key = str(uuid.uuid4())
            while (completion_id := submit(ports, key)) is None:
                pass
            accepted.append(completion_id)

    with ThreadPoolExecutor(VISITORS) as pool:
        visiting = [pool.submit(visit) for _ in range(VISITORS)]
        try:
            for address in scraped_edges(home):
                until(partial(has_accepted, address), f"{address} accepts")
            before = state(home, KILLED)
            assert before.pid is not None
            os.kill(before.pid, signal.SIGKILL)
            until(partial(ready_again, home), f"{KILLED} is started again")
            until(partial(has_accepted, scraped_edges(home)[1]), f"{KILLED} accepts again")
        finally:
            stopping.set()
    for visitor in visiting:
        visitor.result()
    return accepted


def submit(ports: Ports, key: str) -> str | None:
    """Over a connection of its own; None where it must be repeated."""
    connection = http.client.HTTPConnection("127.0.0.1", ports.edge, timeout=60)
    headers = {"content-type": "application/json", "idempotency-key": key}
    try:
        connection.request("POST", f"/quiz/{QUIZ}/completions", b'{"answers": {}}', headers)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return str(json.loads(body)["completion_id"]) if answer.status == 202 else None


def scraped_edges(home: Home) -> list[str]:
    """The edges' addresses, where Prometheus finds them."""
    groups = json.loads(home.scrape_targets_file.read_text())
    return [
        address for group in groups if group["labels"]["process"] == "edge" for address in group["targets"]
    ]


def has_accepted(address: str) -> bool:
    found = scrape("edge", f"http://{address}/metrics")
    return bool(found.value("quizstream_edge_requests_total", route="completions", status="202"))


def state(home: Home, name: str) -> ProcessState:
    told = state_file.read(home.state_file, Processes)
    assert told is not None
    return told.processes[name]


def ready_again(home: Home) -> bool:
    now = state(home, KILLED)
    return now.restarts == 1 and now.state is State.READY


def quizstream(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ops.cli", *arguments],
        env=env,
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
    )


def doctor(env: dict[str, str]) -> dict[str, Finding]:
    found = msgspec.json.decode(quizstream(env, "doctor", "--json").stdout, type=list[Finding])
    return {one.name: one for one in found}
