"""A sender that stands still at the worst moments, and is replaced, holds nobody up and calls nobody."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ops.audit.ledger_audit import Report
from ops.audit.provider_record import ProviderRecord
from ops.audit.reconcile import reconcile
from ops.embedded.stack import ServerUrls
from tests.support.scenario import Scenario, a_scenario, until

RATE_PER_S = 40
PEOPLE = 4000
SENDER, STAND_IN = "whatsapp-sender", "whatsapp-sender-1"
TAKEN_OVER_TIMEOUT_S = 120.0  # a delivery's lease has to run out, and a number's
SETTLE_TIMEOUT_S = 120.0

pytestmark = [pytest.mark.full, pytest.mark.xdist_group("faults"), pytest.mark.timeout(420)]


def test_a_sender_that_slept_between_mark_and_call_does_not_call(
    stack: ServerUrls, namespace: str, tmp_path: Path
) -> None:
    accepted = tmp_path / "accepted.txt"
    with a_scenario(stack, tmp_path / "home", namespace) as scenario:
        with asleep_at("sender.marked", scenario, accepted):
            marked = calling(scenario)
            assert marked
            assert not marked & called(scenario)
            scenario.crew.join(STAND_IN)
            until(
                lambda: not marked & calling(scenario) and bool(called(scenario)),
                lambda: f"not taken over: {marked & calling(scenario)}",
                TAKEN_OVER_TIMEOUT_S,
            )

        report = settled(scenario, accepted)

        assert not marked & called(scenario)
        assert report.ambiguous <= len(marked)


def test_a_sender_that_sleeps_in_a_transaction_holds_nobody_up(
    stack: ServerUrls, namespace: str, tmp_path: Path
) -> None:
    """Open, it hides all later events from the outbox, and without its event no delivery is called."""
    accepted = tmp_path / "accepted.txt"
    with a_scenario(stack, tmp_path / "home", namespace) as scenario:
        with asleep_at("sender.marking", scenario, accepted):
            before = called(scenario)
            scenario.crew.join(STAND_IN)
            until(lambda: bool(called(scenario) - before), "nobody was called", TAKEN_OVER_TIMEOUT_S)

        assert settled(scenario, accepted).ambiguous == 0


@contextmanager
def asleep_at(point: str, scenario: Scenario, accepted: Path) -> Iterator[None]:
    """The sender stands still at the point, under load; at the end it wakes up and the stand-in leaves."""
    crew = scenario.crew
    crew.envs[SENDER].arms.append(f"{point}:stop")
    crew.supervisor.kill(SENDER)
    with scenario.under_load(RATE_PER_S, 1, PEOPLE, accepted):
        until(lambda: f"crash point {point}: stop" in scenario.log_of(SENDER), f"never at {point}")
        said = scenario.log_of(SENDER)
        yield
        crew.supervisor.kill(SENDER, signal.SIGCONT)
        until(lambda: scenario.log_of(SENDER) != said, "the sleeper says nothing")
        crew.leave(STAND_IN)


def settled(scenario: Scenario, accepted: Path) -> Report:
    report = reconcile(scenario.found, accepted, SETTLE_TIMEOUT_S)
    assert report.ok, report.breaches
    assert report.twice == 0
    return report


def calling(scenario: Scenario) -> set[str]:
    """The attempts that are marked and have no result."""
    rows = scenario.rows("SELECT attempt_id::text FROM deliveries WHERE state = 'calling'")
    return {attempt_id for (attempt_id,) in rows}


def called(scenario: Scenario) -> set[str]:
    """The attempts that the provider has heard of."""
    return {call.attempt_id for call in ProviderRecord(scenario.found.settings).more() if call.attempt_id}
