"""A sender that may not send says why: to operators, in its metric, and once in its log."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from prometheus_client import CollectorRegistry, Gauge

from ops.deployment.doctor import Ailing, Warned
from ops.deployment.doctor_checks import CHECKS
from ops.topics import sending_lag
from ops.topics.sending_lag import measure_sending
from pipeline.runtime.settings import Settings
from sinks.delivery.holds import Hold, HoldReason, HoldWatch, Standing, holds_of, read_holds
from sinks.delivery.stop_switch import hold_number, release_number, resume_sending, scope_of, stop_sending
from tests.support.scrapes import scrape
from tests.support.sender_world import NUMBER, World

FREE = Standing(None, None, None, None, senders=1, numbers=2, usable=2, served=2, paused=0)


@pytest.mark.parametrize(
    ("standing", "reasons"),
    [
        (FREE, []),
        (FREE._replace(permit_runs=True, permit_fits=True), []),
        (FREE._replace(paused=1), []),
        (FREE._replace(stop_reason=""), ["stopped"]),
        (FREE._replace(recovery_reason="restored", stop_reason="x"), ["recovering"]),
        (FREE._replace(permit_runs=False, permit_fits=True), ["no_permit"]),
        (FREE._replace(permit_runs=False, permit_fits=False), ["no_permit"]),
        (FREE._replace(permit_runs=True, permit_fits=False), ["other_ledger"]),
        (FREE._replace(numbers=0, usable=0, served=0), ["no_number"]),
        (FREE._replace(usable=0, served=0), ["numbers_held"]),
        (FREE._replace(senders=0, served=0), ["no_sender"]),
        (FREE._replace(served=0), ["no_credential"]),
        (FREE._replace(paused=2), ["numbers_paused"]),
        (FREE._replace(stop_reason="x", permit_runs=False, numbers=0), ["stopped", "no_permit", "no_number"]),
    ],
)
def test_each_cause_has_its_reason(standing: Standing, reasons: list[str]) -> None:
    assert [hold.reason.value for hold in holds_of(standing)] == reasons


def test_a_hold_that_lasts_is_logged_once_and_its_end_once(caplog: pytest.LogCaptureFixture) -> None:
    registry = CollectorRegistry()
    watch = HoldWatch(Gauge("held", "Held.", ["reason"], registry=registry))
    stopped = Hold(HoldReason.STOPPED, "sending is stopped: wrong text", "resume")
    caplog.set_level(logging.INFO)

    def shown(reason: HoldReason) -> float | None:
        return registry.get_sample_value("held", {"reason": reason.value})

    assert {shown(reason) for reason in HoldReason} == {0.0}  # there from the start
    watch.observe([stopped])
    assert shown(HoldReason.STOPPED) == 1.0
    assert caplog.messages == []  # at a start the permit may be a moment late
    for _ in range(10):
        watch.observe([stopped])
    watch.observe([])
    watch.observe([])
    assert caplog.messages == [str(stopped), "sending is possible again"]
    assert shown(HoldReason.STOPPED) == 0.0


def test_a_sender_that_may_not_send_says_why_everywhere(world: World, tmp_path: Path) -> None:
    settings = replace(Settings.from_env({}), database_url=world.database_url)
    (check,) = (each.ask for each in CHECKS if each.name == "sending")

    def metric() -> set[str]:
        found = scrape("whatsapp-sender", f"http://127.0.0.1:{world.metrics_port}/metrics")
        return {
            dict(labels)["reason"]
            for (name, labels), value in found.values.items()
            if name == "quizstream_sender_held" and value
        }

    def everywhere(reason: HoldReason, words: str) -> str:
        """Waits until the sender shows it; returns what `doctor` says."""
        world.wait_until(lambda: metric() == {reason.value})
        world.wait_until(lambda: words in log_of(tmp_path))
        assert [hold.reason for hold in read_holds(world.db)] == [reason]
        (line,) = measure_sending(world.database_url).held
        assert words in line
        with pytest.raises(Ailing) as said:
            check(settings)
        assert words in str(said.value)
        assert said.value.remedy in line
        assert isinstance(said.value, Warned) == (reason is not HoldReason.OTHER_LEDGER)
        return str(said.value)

    world.simulator()
    world.sender()
    assert check(settings) == "there is no sender number yet; nothing is due"
    world.deliveries(world.campaign(), 3)
    assert "3 deliveries are due" in everywhere(HoldReason.NO_NUMBER, "there is no sender number")

    stop_sending(world.db, scope_of("global"), "wrong text")
    world.number()
    everywhere(HoldReason.STOPPED, "sending is stopped: wrong text")
    resume_sending(world.db, scope_of("global"))
    world.wait_for(sent=3)
    assert measure_sending(world.database_url).held == []
    assert check(settings) == "0 deliveries are due"

    hold_number(world.db, NUMBER, "moved")
    everywhere(HoldReason.NUMBERS_HELD, "every sender number (1) is held or stopped")
    release_number(world.db, NUMBER)
    world.db.execute("UPDATE sender_numbers SET credential = 'NOBODY_HAS_IT'")
    everywhere(HoldReason.NO_CREDENTIAL, "no sender process has the access token")
    world.db.execute("UPDATE sender_numbers SET credential = 'WHATSAPP_ACCESS_TOKEN'")

    # Of another time zone, as it once was: the permit runs, and is of no use.
    world.db.execute("INSERT INTO sending_permit VALUES (true, now() + interval '1 hour', 'another ledger')")
    everywhere(HoldReason.OTHER_LEDGER, "the sending permit is of another database server")
    world.db.execute("DELETE FROM sending_permit")
    world.wait_until(lambda: metric() == set())

    stop_sending(world.db, scope_of("campaign", "may"), "")
    with pytest.raises(Warned, match="campaign:may is stopped"):
        check(settings)
    for words in ("there is no sender number", "wrong text", "sending is possible again"):
        assert words in log_of(tmp_path)
    assert log_of(tmp_path).count("nothing is sent: there is no sender number") == 1


def log_of(folder: Path) -> str:
    return "".join(path.read_text() for path in folder.glob("sinks.delivery.process-*.log"))


def test_a_ledger_that_is_slow_to_count_is_not_called_unavailable(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending_lag, "STATEMENT_TIMEOUT_MS", 300)
    stop_sending(world.db, scope_of("global"), "wrong text")
    with psycopg.connect(world.database_url) as other:
        other.execute("LOCK TABLE deliveries IN ACCESS EXCLUSIVE MODE")
        slow = measure_sending(world.database_url)
    assert (slow.records, slow.seconds) == (None, None)
    assert any("sending is stopped: wrong text" in line for line in slow.held)
