"""Edges of `quizstream up --edges 3` are restarted under load, and killed: behind nginx and without."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ops.embedded.stack import ServerUrls
from tests.support import nginx
from tests.support.deployed import QUIZ, TOKEN, Deployed, deployed
from tests.support.running_pipeline import until
from tests.support.scrapes import scrape
from tests.support.visitors import Outcome, visitors

EDGES = 3
BALANCED_RATE = 60.0  # a second
SHARED_RATE = 30.0
NAMES = ["edge", "edge-1", "edge-2"]
KILLED = "edge-1"
VISITORS = 6

pytestmark = [pytest.mark.xdist_group("faults"), pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def one(stack: ServerUrls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    sources = {"sources": {"proxies": ["127.0.0.1/32"], "trusted": []}}
    with deployed(stack, tmp_path_factory.mktemp("deployed"), EDGES, sources) as running:
        yield running


@contextmanager
def balancer(one: Deployed, folder: Path) -> Iterator[str]:
    """nginx by the product's command; yields the address for completions."""
    file, port = folder / "nginx.conf", one.ports.console
    arguments = ("--listen", "127.0.0.1", "--port", str(port), "--folder", str(folder))
    one.done(
        "balancer", "config", *arguments, "--access-log", str(folder / "access.log"), "--output", str(file)
    )
    text = file.read_text()
    assert [f"127.0.0.1:{one.ports.edge_own(number)} " in text for number in range(EDGES)] == [True] * EDGES
    assert nginx.check(file) == ""
    with nginx.running(file, port):
        yield f"http://127.0.0.1:{port}/quiz/{QUIZ}/completions"


def test_an_edge_killed_under_load_comes_back_and_nothing_is_lost(one: Deployed, tmp_path: Path) -> None:
    before = one.processes()[KILLED]

    accepted = killed_under_load(one)

    restarts = before["restarts"] + 1
    found = checks(one)
    assert all(found[name]["ok"] for name in NAMES)
    assert found[KILLED]["detail"].startswith(f"http://127.0.0.1:{one.ports.edge_own(1)}/")
    assert found[KILLED]["detail"].endswith(f"{restarts} restarts")
    assert [name for name in found if name.startswith("edge")] == NAMES
    one.reconciled(accepted, tmp_path / "accepted.txt")


def killed_under_load(one: Deployed) -> list[str]:
    """Kill one while visitors come, until it is ready and has clients again; return what was accepted."""
    accepted: list[str] = []
    stopping = threading.Event()

    def visit() -> None:
        while not stopping.is_set():
            key = str(uuid.uuid4())
            while (completion_id := submitted(one, key)) is None:
                pass
            accepted.append(completion_id)

    with ThreadPoolExecutor(VISITORS) as pool:
        visiting = [pool.submit(visit) for _ in range(VISITORS)]
        try:
            addresses = scraped_edges(one)
            for address in addresses:
                until(partial(has_accepted, address), f"{address} accepts")
            before = one.processes()[KILLED]
            os.kill(before["pid"], signal.SIGKILL)
            until(partial(ready_again, one, before), f"{KILLED} is started again")
            until(partial(has_accepted, addresses[1]), f"{KILLED} accepts again")
        finally:
            stopping.set()
    for visitor in visiting:
        visitor.result()
    return accepted


def submitted(one: Deployed, key: str) -> str | None:
    """Over a connection of its own; None where it must be repeated."""
    connection = http.client.HTTPConnection("127.0.0.1", one.ports.edge, timeout=60)
    headers = {"content-type": "application/json", "idempotency-key": key, "authorization": f"Bearer {TOKEN}"}
    try:
        connection.request("POST", f"/quiz/{QUIZ}/completions", b'{"answers": {}}', headers)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return str(json.loads(body)["completion_id"]) if answer.status == 202 else None


def scraped_edges(one: Deployed) -> list[str]:
    """The edges' addresses, where Prometheus finds them."""
    groups = json.loads(one.home.scrape_targets_file.read_text())
    return [
        address for group in groups if group["labels"]["process"] == "edge" for address in group["targets"]
    ]


def has_accepted(address: str) -> bool:
    found = scrape("edge", f"http://{address}/metrics")
    return bool(found.value("quizstream_edge_requests_total", route="completions", status="202"))


def ready_again(one: Deployed, before: dict[str, Any]) -> bool:
    now = one.processes()[KILLED]
    return bool(now["restarts"] == before["restarts"] + 1 and now["state"] == "ready")


def checks(one: Deployed) -> dict[str, dict[str, Any]]:
    return {finding["name"]: finding for finding in json.loads(one.quizstream("doctor", "--json").stdout)}


def test_edges_restarted_and_killed_under_load_behind_nginx(one: Deployed, tmp_path: Path) -> None:
    nginx.require_nginx()
    with balancer(one, tmp_path) as balanced_url:
        balanced, shared, kept = restarted(one, balanced_url)
        print(f"\nnginx: {balanced}\nshared port: {shared}\nshared port, kept connections: {kept}")
        assert set(balanced.statuses) == {202}
        assert not balanced.errors
        # The shared port: a connection of one request is answered. One that is kept idle may be closed just
        # when the client uses it again, as by every server.
        assert set(shared.statuses) == {202}
        assert not shared.errors
        assert set(kept.statuses) == {202}
        assert sum(kept.errors.values()) <= EDGES * 2

        killed = killed_behind_nginx(one, balanced_url)
        print(f"killed behind nginx: {killed}")
        # What the killed one had accepted has no answer; its clients are asked to repeat it.
        assert set(killed.statuses) <= {202, 503}
        assert not killed.errors
        entries = json.loads(one.done("audit-log", "--json"))["items"]
        restarts = [entry for entry in entries if entry["action"] == "process.restart"]
        assert len(restarts) == 1
        assert restarts[0]["actor"] == "a test"
        assert restarts[0]["detail"] == {"processes": NAMES}
        accepted = [*balanced.accepted, *shared.accepted, *kept.accepted, *killed.accepted]
        one.reconciled(accepted, tmp_path / "accepted.txt")
        checked = checks(one)
        assert checked["clients"]["ok"]
        assert f"3 edges share port {one.ports.edge}" in checked["clients"]["detail"]
        assert "load balancers of 127.0.0.1/32" in checked["clients"]["detail"]
        refused_if_unready(one)


def restarted(one: Deployed, balanced_url: str) -> tuple[Outcome, Outcome, Outcome]:
    with ExitStack() as load:
        balanced, shared, kept = (
            load.enter_context(visitors(url, rate, token=TOKEN, keep_alive=keep_alive))
            for url, rate, keep_alive in (
                (balanced_url, BALANCED_RATE, True),
                (one.shared_url, SHARED_RATE, False),
                (one.shared_url, SHARED_RATE, True),
            )
        )
        until(
            lambda: all(len(each.accepted) > 50 for each in (balanced, shared, kept)), "the first completions"
        )
        before = one.processes()
        said = one.done("restart", "edges")
        assert [line.split(":")[0] for line in said.splitlines()] == NAMES
        now = one.processes()
        assert all(now[name]["restarts"] == before[name]["restarts"] + 1 for name in NAMES)
        assert all(now[name]["last_exit"] == 0 for name in NAMES)
        assert all(now[name]["pid"] != before[name]["pid"] for name in NAMES)
        assert all(now[name]["restarts"] == 0 for name in now if name not in NAMES)
        by_then = len(balanced.accepted)
        until(lambda: len(balanced.accepted) > by_then + 100, "more completions")
    return balanced, shared, kept


def killed_behind_nginx(one: Deployed, balanced_url: str) -> Outcome:
    with visitors(balanced_url, BALANCED_RATE, token=TOKEN, keep_alive=True) as killed:
        until(lambda: len(killed.accepted) > 50, "completions")
        before = one.processes()["edge-1"]
        os.kill(before["pid"], signal.SIGKILL)
        until(lambda: one.processes()["edge-1"]["restarts"] > before["restarts"], "it is started again")
        until(lambda: one.processes()["edge-1"]["state"] == "ready", "it is ready")
        by_then = len(killed.accepted)
        until(lambda: len(killed.accepted) > by_then + 100, "more completions")
    return killed


def refused_if_unready(one: Deployed) -> None:
    """Nothing is restarted while an edge is down, or where there is none of the name."""
    unknown = one.quizstream("restart", "edge-9")
    assert unknown.returncode == 2
    assert "There is no process 'edge-9'" in unknown.stderr
    os.kill(one.processes()["edge-2"]["pid"], signal.SIGKILL)
    until(lambda: one.processes()["edge-2"]["state"] != "ready", "it is noticed")
    before = one.processes()
    refused = one.quizstream("restart", "edges")
    if refused.returncode == 0:  # it was ready again before the command had looked
        return
    assert refused.returncode == 2
    assert "Not ready: edge-2" in refused.stderr
    assert one.processes()["edge"]["pid"] == before["edge"]["pid"]
