"""A delivery that is not sent names what it waits for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from ops.audit.waiting import NumberStanding, Standing, reasons_of, why_waiting
from schemas.ids import delivery_id
from sinks.delivery.holds import Hold, HoldReason
from sinks.delivery.stop_switch import Stop, hold_number, scope_of, stop_sending
from sinks.postgres.catalogue.suppressions import suppress
from tests.support.sender_world import NUMBER, TENANT, World

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
FREE = Standing("waiting", "", NOW, False, "acme", "may", NOW, False, False, 0, "1002")
GOOD = NumberStanding("1001", "active", "", False, True, None)


@pytest.mark.parametrize(
    ("standing", "numbers", "reason"),
    [
        (FREE, [GOOD], "a sender takes it next"),
        (FREE._replace(ahead=1200), [GOOD], "1,200 due deliveries of its number come first"),
        (FREE._replace(ahead=100_000), [GOOD], "at least 100,000 due deliveries"),
        (FREE._replace(state="leased"), [GOOD], "a sender has leased it"),
        (FREE._replace(early=True), [GOOD], "it is due at 2026-05-01 12:00:00 UTC"),
        (FREE._replace(early=True, reason="131056: slow down"), [GOOD], "UTC (131056: slow down)"),
        (FREE._replace(suppressed=True), [GOOD], "the contact opted out"),
        (FREE._replace(cancelled=True), [GOOD], "its campaign is cancelled"),
        (FREE, [], "there is no sender number for tenant acme"),
        (
            FREE,
            [GOOD._replace(state="quarantined", reason="spam")],
            "held or stopped: 1001 (quarantined: spam)",
        ),
        (FREE, [GOOD._replace(stopped=True)], "held or stopped: 1001 (stopped)"),
        (FREE, [GOOD._replace(state="paused")] * 7, "and 2 more"),
        (FREE, [GOOD._replace(served=False)], "no sender process has the access token"),
        (FREE, [GOOD._replace(paused_until=NOW)], "limited each number of tenant acme, the first until 2026"),
        (FREE, [GOOD, GOOD._replace(state="paused")], "a sender takes it next"),
        (FREE._replace(route="1001"), [GOOD._replace(paused_until=NOW), GOOD], "limited its number 1001"),
        (FREE, [GOOD, GOOD._replace(paused_until=NOW)], "a sender takes it next"),
    ],
)
def test_each_cause_is_named(standing: Standing, numbers: list[NumberStanding], reason: str) -> None:
    [said] = reasons_of(standing, numbers)
    assert reason in said


def test_several_causes_are_all_named_and_only_its_own_stops() -> None:
    stops = [Stop(scope, "wrong text", NOW) for scope in ("campaign:june", "campaign:may", "tenant:acme")]
    stops.append(Stop("campaign:may", "ours", NOW, by_tenant=True))
    hold = Hold(HoldReason.NO_PERMIT, "there is no sending permit", "check the publisher")
    said = reasons_of(FREE._replace(early=True, ahead=5), [], stops, [hold])
    assert [reason.partition(" ->")[0] for reason in said] == [
        "nothing is sent: there is no sending permit",
        "campaign may is stopped: wrong text",
        "tenant acme is stopped: wrong text",
        "campaign may is paused by its tenant: ours",
        "there is no sender number for tenant acme",
        "it is due at 2026-05-01 12:00:00 UTC",
    ]


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> Iterator[World]:
    with World(database_url, tmp_path) as made:
        yield made


def test_the_reasons_are_read_from_the_ledger_as_the_claim_reads_it(world: World) -> None:
    campaign = world.campaign()
    (first,) = world.deliveries(campaign)
    (second,) = world.deliveries(campaign)
    (later,) = world.deliveries(campaign, due_at=datetime.now(UTC) + timedelta(hours=1))

    def said(contact: str) -> list[str]:
        waits = why_waiting(world.db, UUID(delivery_id(campaign, contact)))
        assert waits is not None
        return [reason.partition(" ->")[0] for reason in waits.reasons]

    assert f"there is no sender number for tenant {TENANT}" in said(first)
    world.number()
    # As if a sender process with the token were there.
    world.db.execute(
        "INSERT INTO sender_processes VALUES ('a', ARRAY['meta-cloud'], ARRAY['WHATSAPP_ACCESS_TOKEN'],"
        " now() + interval '1 hour')"
    )
    assert said(first) == ["a sender takes it next"]
    assert said(second) == ["1 due deliveries of its number come first"]
    (due,) = said(later)
    assert due.startswith("it is due at ")

    stop_sending(world.db, scope_of("campaign", campaign), "wrong text")
    assert said(first) == [f"campaign {campaign} is stopped: wrong text"]
    hold_number(world.db, NUMBER, "moved")
    assert said(first)[-1].endswith(f"is held or stopped: {NUMBER} (stopped: moved)")
    suppress(world.db, TENANT, [second], "asked by letter")
    assert any("opted out" in reason for reason in said(second))
    assert not any("opted out" in reason for reason in said(first))

    world.db.execute("UPDATE deliveries SET state = 'failed' WHERE contact_id = %s", [first])
    assert why_waiting(world.db, UUID(delivery_id(campaign, first))) is None
    assert why_waiting(world.db, UUID(int=0)) is None
