"""A part is away for long, under load: what goes on without it does, and afterwards the ledger holds."""

from __future__ import annotations

import os
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from ops.chaos import run, show
from ops.chaos.schedule import Fault
from ops.embedded.home import Home
from tests.support.ports import free_ports

RATE_PER_S = 60.0
REFUSED_WITHIN_S = 1.0  # far above what it takes: a hang would last for many seconds
BACK_WITHIN_S = 30.0


@pytest.mark.full
@pytest.mark.timeout(900)
def test_postgres_and_the_provider_away_for_minutes(tmp_path: Path) -> None:
    faults = [
        Fault(5.0, "link.drop", "sender-provider", 60.0, 0.5),
        Fault(20.0, "postgres.kill", "postgres", 120.0, 0.5),
    ]
    # Neither of the two is an outage for the edge: every second counts for the pace.
    plan = run.Plan(1, 150.0, RATE_PER_S, accepted_per_s_min=RATE_PER_S * 0.9, faults=faults)
    outcome = run.chaos(plan, Home(tmp_path / "home"), on_ports())
    assert all(gate.ok for gate in outcome.gates if gate.name != "drained in time"), show.text(outcome, plan)


@pytest.mark.full
@pytest.mark.timeout(900)
def test_two_of_three_brokers_gone(tmp_path: Path) -> None:
    """The edge refuses at once and says when to come again; it accepts again soon after they are back."""
    gone_s = 20.0
    plan = run.Plan(
        2,
        60.0,
        RATE_PER_S,
        accepted_per_s_min=0.0,
        brokers=3,
        faults=[Fault(15.0, "kafka.two_gone", "kafka", gone_s, 0.5)],
    )
    env = on_ports()
    asking = Asking(f"http://127.0.0.1:{env['QUIZSTREAM_PORT_BASE']}/quiz/faults/completions")
    began_s: list[float] = []

    def tell(line: str) -> None:
        print(line)
        if "kafka.two_gone" in line and "over" not in line:
            began_s.append(time.monotonic())
            asking.start()
        if line.startswith("the load ends"):
            asking.stop()

    outcome = run.chaos(plan, Home(tmp_path / "home"), env, tell)
    broken = [gate for gate in outcome.gates if not gate.ok and not gate.of_time]
    assert not broken, show.text(outcome, plan)
    refused = [answer for answer in asking.answers if answer.status == 503]
    settled = [answer for answer in refused if answer.at_s > began_s[0] + gone_s / 2]
    assert settled
    assert all(answer.retry_after for answer in refused)
    assert max(answer.took_s for answer in settled) < REFUSED_WITHIN_S
    (event,) = outcome.events
    back_s = began_s[0] + event.ended_s - event.begun_s
    accepted = [
        answer.at_s for answer in asking.answers if answer.status == 202 and answer.at_s > back_s - 15
    ]
    assert accepted
    assert min(accepted) < back_s + BACK_WITHIN_S


class Answer:
    def __init__(self, at_s: float, status: int, took_s: float, retry_after: str) -> None:
        self.at_s, self.status, self.took_s, self.retry_after = at_s, status, took_s, retry_after


class Asking:
    """One client that posts four times a second, and writes down how the edge answers."""

    def __init__(self, url: str) -> None:
        self.answers: list[Answer] = []
        self._url = url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(30.0)

    def _run(self) -> None:
        while not self._stop.wait(0.25):
            request = urllib.request.Request(
                self._url,
                data=b'{"answers": {"colour": "red"}}',
                headers={"Content-Type": "application/json"},
            )
            began_s = time.monotonic()
            try:
                with urllib.request.urlopen(request, timeout=20.0) as response:
                    status, retry_after = response.status, ""
            except urllib.error.HTTPError as error:
                status, retry_after = error.code, error.headers.get("Retry-After", "")
            except OSError:
                continue
            took_s = time.monotonic() - began_s
            self.answers.append(Answer(began_s, status, took_s, retry_after))


def on_ports() -> dict[str, str]:
    return {**os.environ, "QUIZSTREAM_PORT_BASE": str(free_ports(blocks=2).base)}
