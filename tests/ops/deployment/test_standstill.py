"""What does not move is named by `doctor` and by `resume-sending`, with what to do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ops.cli import app
from ops.deployment.doctor import Warned
from ops.deployment.doctor_checks import CHECKS
from pipeline.runtime.settings import Settings
from sinks.delivery.stop_switch import hold_number, pause_by_tenant, release_number, scope_of, stop_sending
from sinks.postgres.catalogue.webhook_keys import save_webhook_key
from tests.support.sender_world import NUMBER, TENANT, World

Ask = Callable[[str], str]


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> Iterator[World]:
    with World(database_url, tmp_path) as made:
        yield made


@pytest.fixture
def ask(world: World) -> Ask:
    """The text of a check, whether it warns or not."""
    settings = replace(Settings.from_env({}), database_url=world.database_url)
    checks = {check.name: check.ask for check in CHECKS}

    def found(name: str) -> str:
        try:
            return checks[name](settings)
        except Warned as warned:
            return f"warned: {warned}"

    return found


def test_held_numbers_are_named_with_their_reasons(world: World, ask: Ask) -> None:
    assert ask("numbers") == "none is held"
    for number in range(5):
        world.number(f"100{number}")
        hold_number(world.db, f"100{number}", "spam " * 30)
    found = ask("numbers")
    assert found.startswith("warned: number 1000 is stopped (spam spam")
    assert found.endswith("; and 2 more")
    assert "1003" not in found


def test_stops_are_named_with_their_reasons(world: World, ask: Ask) -> None:
    world.db.execute(
        "INSERT INTO sender_processes VALUES ('a', ARRAY['meta-cloud'], ARRAY['WHATSAPP_ACCESS_TOKEN'],"
        " now() + interval '1 hour')"
    )
    world.number()
    pause_by_tenant(world.db, scope_of("campaign", "march"), "ours", "ana")
    assert ask("sending") == "0 deliveries are due"
    for campaign in ("april", "june", "may", "july"):
        stop_sending(world.db, scope_of("campaign", campaign), "132001: no such template")
    assert ask("sending").startswith(
        "warned: campaign:april is stopped (132001: no such template); campaign:j"
    )
    assert "and 1 more; 0 deliveries are due" in ask("sending")


def test_an_event_that_no_topic_takes_is_named(world: World, ask: Ask) -> None:
    assert ask("outbox") == "no event is set aside"
    world.db.execute("INSERT INTO outbox (topic, key, set_aside_at) VALUES ('quizzes', 'long-quiz', now())")
    assert ask("outbox") == "warned: larger than their topic takes: long-quiz (quizzes)"


def test_a_tenant_that_cannot_send_is_named(world: World, ask: Ask) -> None:
    fine = "each that sends has a sender number"
    for tenant in ("idle", "late", "waits", "ended"):
        world.tenant(tenant)
    assert ask("tenants") == fine  # nobody has anything to send
    world.campaign(tenant_id="late")
    world.deliveries("gone", tenant_id="waits")
    ended = world.campaign(tenant_id="ended")
    world.db.execute("UPDATE campaigns SET cancelled_at = now() WHERE campaign_id = %s", [ended])
    assert ask("tenants") == "warned: without a usable sender number: late, waits"
    world.number("everybodys", "*")
    assert ask("tenants") == fine
    # Its own number serves it alone, usable or not.
    world.number("own", "late")
    hold_number(world.db, "own", "moved")
    assert ask("tenants") == "warned: without a usable sender number: late"
    release_number(world.db, "own")
    stop_sending(world.db, scope_of("number", "own"), "")
    assert ask("tenants") == "warned: without a usable sender number: late"


def test_session_numbers_without_a_webhook_key_are_named(world: World, ask: Ask) -> None:
    world.number("1000")
    assert ask("webhook keys") == "each session number has its key"
    for number in ("5511", "5512"):
        world.number(number, provider="uazapi")
    save_webhook_key(world.db, "5511", "a-key")
    assert ask("webhook keys").endswith("whose webhooks are rejected: 5512")
    world.db.execute("UPDATE sender_numbers SET provider = 'evolution' WHERE number_id = '5511'")
    assert ask("webhook keys").endswith("whose webhooks are rejected: 5511, 5512")


def test_webhooks_that_lead_to_nobody_are_counted_and_opt_outs_among_them_warn(
    world: World, ask: Ask
) -> None:
    def event(consent: str | None) -> None:
        world.db.execute(
            "INSERT INTO inbound_events (event_id, provider, number_id, kind, consent, at, resolved)"
            " VALUES (gen_random_uuid(), 'meta-cloud', '1', 'text', %s, now(), false)",
            [consent],
        )

    event(None)
    for age in ("1 minute", "2 hours"):
        world.db.execute(
            "INSERT INTO provider_statuses (provider, provider_message_id, status, at)"
            " VALUES ('meta-cloud', %s, 'read', now() - %s::interval)",
            [age, age],
        )
    assert ask("webhooks") == "1 inbound events lead to no contact, 1 statuses to no message"
    event("stop")
    event("perhaps")
    assert ask("webhooks").startswith("warned: 1 opt-outs or opt-ins of unknown people; in all 3 inbound")


def test_resume_sending_names_what_still_stands(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", world.database_url)
    monkeypatch.setenv("QUIZSTREAM_HOME", str(tmp_path))

    def resumed(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["resume-sending", *arguments])
        assert done.exit_code == 0, done.output
        return done.stdout

    assert resumed() == "No stop is in force, and no number is held.\n"
    world.number()
    hold_number(world.db, NUMBER, "spam warning")
    stop_sending(world.db, scope_of("tenant", TENANT), "")
    stop_sending(world.db, scope_of("global"), "")
    still = resumed()
    assert "No stop is in force" not in still
    assert f"tenant:{TENANT} since" in still
    assert f"number {NUMBER} is stopped: spam warning" in still
    shown = json.loads(resumed("--tenant", TENANT, "--json"))
    assert shown["stops"] == []
    assert [number["number_id"] for number in shown["held_numbers"]] == [NUMBER]
    assert f"Held now, until `quizstream number release ID`:\n  number {NUMBER}" in resumed()
    assert resumed("--number", NUMBER) == "No stop is in force, and no number is held.\n"
