"""Killed at every named point under load, each process comes back and the ledger holds."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from ops.audit.reconcile import reconcile
from ops.embedded.stack import ServerUrls
from pipeline.runtime.crash_points import POINTS
from tests.support.producer import delivered, make_producer
from tests.support.scenario import Scenario, a_scenario, until

RATE_PER_S = 60
PEOPLE = 4000
POINT_TIMEOUT_S = 300.0
SETTLE_TIMEOUT_S = 300.0
POISON_EVERY_S = 1.0

# Which process reaches a point. Of the two that copy into tables only the sink's counts here.
PROCESS_OF = {
    "edge": "edge",
    "stream": "worker",
    "sink": "postgres-sink",
    "outbox": "postgres-sink",
    "sender": "whatsapp-sender",
}
# The visit that kills: from 1 on, so that a process dies with work in hand and not always at its first.
VISITS_MAX = 5
# Reached once at each start of the process: a later visit would take too long to come.
FIRST_VISIT = {"sender.numbers_leased", "sink.rejected"}

ONE_OF_EACH = ("edge.reported", "stream.delivered", "sink.written", "sender.called")


@pytest.mark.xdist_group("faults")
@pytest.mark.timeout(900)
def test_one_point_of_each_process(stack: ServerUrls, namespace: str, tmp_path: Path) -> None:
    with a_scenario(stack, tmp_path / "home", namespace) as scenario:
        kill_at(scenario, ONE_OF_EACH, tmp_path / "accepted.txt", seed=1)


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_every_point(stack: ServerUrls, namespace: str, tmp_path: Path) -> None:
    with a_scenario(stack, tmp_path / "home", namespace) as scenario:
        kill_at(scenario, tuple(POINTS), tmp_path / "accepted.txt", seed=2)


def kill_at(scenario: Scenario, points: tuple[str, ...], accepted: Path, seed: int) -> None:
    """Each process is killed at each of its points, one after the other; the processes at the same time."""
    rng = random.Random(seed)
    supervisor = scenario.crew.supervisor
    with scenario.under_load(RATE_PER_S, seed, PEOPLE, accepted):
        for name in set(PROCESS_OF.values()):
            mine = [point for point in points if PROCESS_OF[point.partition(".")[0]] == name]
            for point in mine:
                visit = 1 if point in FIRST_VISIT else rng.randint(1, VISITS_MAX)
                scenario.crew.envs[name].arms.append(f"{point}:kill:{visit}")
            if mine:
                supervisor.kill(name)
        poison = Poison(scenario)

        def missed() -> list[str]:
            said = {name: scenario.log_of(name) for name in set(PROCESS_OF.values())}
            return [
                point
                for point in points
                if f"crash point {point}: kill" not in said[PROCESS_OF[point.partition(".")[0]]]
            ]

        def all_killed() -> bool:
            if "sink.rejected" in points:
                poison.more()
            return not missed()

        until(all_killed, lambda: f"not killed at {missed()}", POINT_TIMEOUT_S * max(1, len(points) / 4))
    assert supervisor.wait_ready(60.0) == []
    report = reconcile(scenario.found, accepted, SETTLE_TIMEOUT_S)
    assert report.ok, report.breaches
    deaths_in_calls = sum(point.startswith("sender.") for point in points)
    sender = scenario.found.topology.sender
    numbers = scenario.value("SELECT count(*) FROM sender_numbers")
    assert report.ambiguous <= deaths_in_calls * sender.in_flight_max * numbers
    assert report.undecodable == report.dead == poison.sent


class Poison:
    """Records that are no completions, put into the topic by hand: one now and then, since whoever is to die
    of one may have others to die of before.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.sent = 0
        self._next_at_s = 0.0
        self._topic = scenario.found.topology.topic("completions").name
        self._producer = make_producer(scenario.found.settings.kafka_bootstrap_servers, log_level=0)

    def more(self) -> None:
        if time.monotonic() >= self._next_at_s:
            self._next_at_s = time.monotonic() + POISON_EVERY_S
            self._producer.produce(self._topic, b"no completion", key=f"poison {self.sent}".encode())
            delivered(self._producer)
            self.sent += 1
