"""The process webhook-sender: from the topic to the endpoint, and through a kill in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sinks.outbound.conftest import Hooks, event
from tests.support.sinks import TOPOLOGY_FILE, until
from tests.support.webhook_receiver import Received

EVENTS = 200
CHANGES = {
    "development_networks: []": 'development_networks: ["127.0.0.0/8"]',
    "lease_s: 60 ": "lease_s: 3 ",
    "call_timeout_s: 15": "call_timeout_s: 2",
    "poll_ms: 500": "poll_ms: 50",
}


@pytest.fixture
def env(hooks: Hooks, tmp_path: Path) -> dict[str, str]:
    text = TOPOLOGY_FILE.read_text()
    for its_own, other in CHANGES.items():
        assert text.count(its_own) == 1, its_own
        text = text.replace(its_own, other)
    (tmp_path / "topology.yaml").write_text(text)
    return os.environ | hooks.corner.env() | {"QUIZSTREAM_TOPOLOGY": str(tmp_path / "topology.yaml")}


def started(env: dict[str, str]) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-m", "sinks.outbound.process"]
    return subprocess.Popen(argv, env=env, cwd=TOPOLOGY_FILE.parent)


def test_a_kill_in_the_middle_loses_no_event(hooks: Hooks, env: dict[str, str]) -> None:
    receiver = hooks.receiver()
    endpoint, _ = hooks.endpoint(receiver.url)
    hooks.corner.make_topics("delivery_events", "dead_letters")
    first = started(env)

    def kill_in_the_middle(received: Received) -> int:
        if len(receiver.got) == EVENTS // 4:
            first.send_signal(signal.SIGKILL)
        return 204

    receiver.answer = kill_in_the_middle
    hooks.corner.produce("delivery_events", [event(n) for n in range(EVENTS)])
    assert first.wait(120) == -signal.SIGKILL
    assert ("pending" in [state for state, _ in hooks.states(endpoint)]) or hooks.states(endpoint) == []
    second = started(env)
    try:
        until(lambda: hooks.states(endpoint) == [("delivered", EVENTS)], "every event")
    finally:
        second.terminate()
        assert second.wait(30) == 0
    assert len({*receiver.ids()}) == EVENTS
    # Repeated are calls in flight, and those that had ended after the results before were stored.
    assert len(receiver.got) <= EVENTS + 2 * hooks.limits.in_flight_max
