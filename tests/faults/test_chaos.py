"""A short fault run: one seed that is always the same, then one that is new each time and printed."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import msgspec
import pytest

from ops.chaos import run, show
from ops.chaos.schedule import WARM_UP_S, Fault, schedule
from ops.embedded.home import Home
from tests.support.ports import free_ports

FIXED_SEED = 15
SEED_VARIABLE = "QUIZSTREAM_TEST_SEED"  # to have the random half again
HALF_S = 13.0
RATE_PER_S = 60.0


@pytest.mark.xdist_group("faults")
@pytest.mark.timeout(900)
def test_a_fixed_and_a_random_seed_hold(tmp_path: Path) -> None:
    random_seed = int(os.environ.get(SEED_VARIABLE) or secrets.randbelow(2**31))
    print(f"{SEED_VARIABLE}={random_seed}")
    watched = Fault(WARM_UP_S, "server.kill", "postgres", 0.0, 0.5)
    faults = [watched, *schedule(FIXED_SEED, HALF_S), *later(schedule(random_seed, HALF_S), HALF_S)]
    plan = run.Plan(random_seed, 2 * HALF_S, RATE_PER_S, accepted_per_s_min=0.0, faults=faults)
    env = {**os.environ, "QUIZSTREAM_PORT_BASE": str(free_ports(blocks=2).base)}
    outcome = run.chaos(plan, Home(tmp_path / "home"), env)
    broken = [gate for gate in outcome.gates if not gate.ok and not gate.of_time]
    assert not broken, f"{SEED_VARIABLE}={random_seed}\n{show.text(outcome, plan)}"
    assert outcome.accepted > RATE_PER_S
    assert any("postgres is ready" in event.note for event in outcome.events)  # by its watch alone


def later(faults: list[Fault], by_s: float) -> list[Fault]:
    return [msgspec.structs.replace(fault, at_s=fault.at_s + by_s) for fault in faults]


@pytest.mark.full
@pytest.mark.xdist_group("faults")
@pytest.mark.timeout(900)
def test_an_attack_is_ended_while_valkey_is_restarted_and_nobody_else_is_blocked(tmp_path: Path) -> None:
    faults = [
        Fault(WARM_UP_S, "load.attack", "attackers", 15.0, 0.5),
        Fault(WARM_UP_S + 3.0, "valkey.restart", "valkey", 1.0, 0.5),
    ]
    plan = run.Plan(7, 25.0, RATE_PER_S, accepted_per_s_min=0.0, faults=faults)
    env = {**os.environ, "QUIZSTREAM_PORT_BASE": str(free_ports(blocks=2).base)}
    outcome = run.chaos(plan, Home(tmp_path / "home"), env)
    print(show.text(outcome, plan))
    broken = [gate for gate in outcome.gates if not gate.ok and not gate.of_time]
    assert not broken, show.text(outcome, plan)
    assert any(event.note.startswith("4 of 4 attackers") for event in outcome.events)
