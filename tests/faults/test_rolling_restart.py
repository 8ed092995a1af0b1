"""Edges of `quizstream up --edges 3` are restarted under load, and one is killed: by nginx and without."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from ops.embedded.stack import ServerUrls
from tests.support import nginx
from tests.support.deployed import QUIZ, TOKEN, Deployed, deployed
from tests.support.running_pipeline import until
from tests.support.visitors import Outcome, visitors

EDGES = 3
BALANCED_RATE = 60.0  # a second
SHARED_RATE = 30.0
NAMES = ["edge", "edge-1", "edge-2"]


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


@pytest.mark.xdist_group("faults")
@pytest.mark.timeout(900)
def test_edges_restarted_twice_and_one_killed_under_load(stack: ServerUrls, tmp_path: Path) -> None:
    nginx.require_nginx()
    sources = {"sources": {"proxies": ["127.0.0.1/32"], "trusted": []}}
    with deployed(stack, tmp_path, EDGES, sources) as one, balancer(one, tmp_path) as balanced_url:
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
        assert len(restarts) == 2
        assert restarts[0]["actor"] == "a test"
        assert restarts[0]["detail"] == {"processes": NAMES}
        accepted = [*balanced.accepted, *shared.accepted, *kept.accepted, *killed.accepted]
        one.reconciled(accepted, tmp_path / "accepted.txt")
        checked = {finding["name"]: finding for finding in json.loads(one.done("doctor", "--json"))}
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
        for time in (1, 2):
            before = one.processes()
            said = one.done("restart", "edges")
            assert [line.split(":")[0] for line in said.splitlines()] == NAMES
            now = one.processes()
            assert all(now[name]["restarts"] == time for name in NAMES)
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
