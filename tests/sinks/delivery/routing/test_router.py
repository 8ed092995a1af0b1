"""The route of a delivery, on a real PostgreSQL: who sends to whom, and when that changes."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from schemas.records import Message
from sinks.delivery import stop_switch
from sinks.delivery.routing import router
from sinks.delivery.routing.weights import WeightsRejected, parse_shares, set_weights
from sinks.delivery.rows import Leased
from sinks.postgres.catalogue.numbers import NumberDraft, save_number
from tests.sinks.delivery.routing.office import NEW, OLD, THIRD, Office, story
from tests.support.sender_world import HELLO, TENANT, World

PLAIN = Message(kind="text", text="Hello!")
SESSION_KINDS = ["text", "image", "video", "audio", "document"]


def weigh(world: World, old: int, new: int) -> None:
    set_weights(world.db, "test", TENANT, {OLD: old, NEW: new})


def test_weights_move_each_contact_once_and_shares_are_exact_within_two_points(world: World) -> None:
    world.number(OLD)
    world.number(NEW)
    # Always the same, so that chance decides nothing: of 2,000 others the share may differ by three points.
    contacts = [f"contact-{number}" for number in range(2_000)]
    world.deliveries(world.campaign(), contacts=contacts)

    async def tell(office: Office) -> None:
        before: dict[str, str | None] = {}
        moves: Counter[str] = Counter()
        for percent in (0, 10, 50, 100):
            weigh(world, 100 - percent, percent)
            await office.rounds(1)
            now = office.routes()
            share = 100 * sum(route == NEW for route in now.values()) / len(contacts)
            assert abs(share - percent) <= 2
            moved = [contact for contact in before if before[contact] != now[contact]]
            assert {now[contact] for contact in moved} <= {NEW}
            moves.update(moved)
            before = now
        assert set(moves.values()) == {1}
        assert len(moves) == len(contacts)

    story(world, tell)


def test_a_number_that_is_added_takes_no_contact_that_is_known_already(world: World) -> None:
    world.number(OLD)
    known = world.deliveries(world.campaign(), 50)
    world.number(NEW, open_since="now")
    later = world.deliveries(world.campaign(), 200)

    async def tell(office: Office) -> None:
        await office.rounds()
        routes = office.routes()
        assert {routes[contact] for contact in known} == {OLD}
        assert 60 <= sum(routes[contact] == NEW for contact in later) <= 140
        weigh(world, 0, 100)
        await office.rounds()
        assert office.shares() == {NEW: 250}

    story(world, tell)


@pytest.mark.parametrize("state", ["quarantined", "stopped", "paused"])
def test_the_queue_of_a_number_that_cannot_send_moves_and_comes_back(world: World, state: str) -> None:
    world.number(OLD)
    world.number(NEW)
    world.deliveries(world.campaign(), 60)

    async def tell(office: Office) -> None:
        await office.rounds()
        home = office.routes()
        assert len(set(home.values())) == 2
        sql = "UPDATE sender_numbers SET state = %s, reason = 'banned' WHERE number_id = %s"
        world.db.execute(sql, [state, OLD])
        await office.rounds()
        assert office.shares() == {NEW: 60}
        stop_switch.release_number(world.db, OLD, "test")
        await office.rounds()
        assert office.routes() == home

    story(world, tell, batch_max=7)


def test_a_short_limit_moves_nothing_and_a_long_one_does(world: World) -> None:
    world.number(OLD)
    world.number(NEW)
    world.deliveries(world.campaign(), 40)

    async def tell(office: Office) -> None:
        await office.rounds()
        home = office.routes()
        pause = "UPDATE sender_numbers SET paused_until = now() + interval %s WHERE number_id = %s"
        world.db.execute(pause.replace("%s", "'50 s'", 1), [OLD])
        await office.rounds()
        assert office.routes() == home
        world.db.execute(pause.replace("%s", "'1 h'", 1), [OLD])
        await office.rounds()
        assert office.shares() == {NEW: 40}

    story(world, tell)


def test_a_delivery_that_is_leased_or_called_or_in_doubt_keeps_its_number(world: World) -> None:
    world.number(OLD)
    world.number(NEW)
    campaign = world.campaign()
    held = {
        state: world.deliveries(campaign, state=state, route=OLD, number_id=OLD)[0]
        for state in ("leased", "calling", "ambiguous", "sent", "failed")
    }
    waiting = world.deliveries(campaign, 5, route=OLD)

    async def tell(office: Office) -> None:
        world.db.execute("UPDATE sender_numbers SET state = 'quarantined' WHERE number_id = %s", [OLD])
        rows = "SELECT contact_id, state, route, sequence FROM deliveries WHERE contact_id = ANY (%s)"
        before = world.db.execute(rows, [list(held.values())]).fetchall()
        await office.rounds()
        assert sorted(world.db.execute(rows, [list(held.values())]).fetchall()) == sorted(before)
        assert {office.routes()[contact] for contact in waiting} == {NEW}

    story(world, tell)


def test_a_delivery_that_is_claimed_while_it_would_be_moved_stays_with_its_claim(world: World) -> None:
    """Given weights that change: claims and re-routes at once; each lease is of the number that it names."""
    world.number(OLD)
    world.number(NEW)
    world.deliveries(world.campaign(), 400)

    async def tell(office: Office) -> None:
        await office.rounds()

        async def claim_all() -> list[Leased]:
            leased = []
            while found := await office.claim({OLD: 7, NEW: 7}):
                leased += found
            return leased

        async def change() -> None:
            for percent in (10, 50, 100, 0, 100):
                weigh(world, 100 - percent, percent)
                await office.rounds(1)

        claims = await asyncio.gather(claim_all(), claim_all(), change())
        await office.rounds(1)
        leased = [*claims[0], *claims[1], *(await claim_all())]
        assert len({one.key for one in leased}) == len(leased) == 400
        assert {one.key.contact_id: one.route for one in leased} == office.routes()

    story(world, tell)


def test_a_template_goes_by_a_number_whose_provider_has_templates(world: World) -> None:
    world.number(OLD)
    world.number(NEW, provider="uazapi", kinds=SESSION_KINDS)
    template = world.deliveries(world.campaign(HELLO), 30)
    text = world.deliveries(world.campaign(PLAIN), 30)

    async def tell(office: Office) -> None:
        weigh(world, 1, 99)
        await office.rounds()
        routes = office.routes()
        assert {routes[contact] for contact in template} == {OLD}
        assert NEW in {routes[contact] for contact in text}
        world.db.execute("UPDATE sender_numbers SET state = 'quarantined' WHERE number_id = %s", [OLD])
        await office.rounds()
        routes = office.routes()
        assert {routes[contact] for contact in template} == {OLD}  # waits: no other can carry it
        assert {routes[contact] for contact in text} == {NEW}

    story(world, tell)


def test_a_number_nobody_can_serve_keeps_nothing_and_weights_of_zero_are_no_fallback(world: World) -> None:
    world.number(OLD, credential="NOBODY_HAS_IT", created_at="2026-01-01")
    world.number(NEW)
    world.number(THIRD)
    world.deliveries(world.campaign(), 30)

    async def tell(office: Office) -> None:
        set_weights(world.db, "test", TENANT, {OLD: 50, NEW: 50, THIRD: 0})
        await office.rounds()
        assert office.shares() == {NEW: 30}
        world.db.execute("UPDATE sender_numbers SET state = 'stopped' WHERE number_id = %s", [NEW])
        await office.rounds()
        assert THIRD not in office.shares()

    story(world, tell)


def test_what_a_late_transaction_stores_with_a_number_that_cannot_send_is_looked_at_once_more(
    world: World,
) -> None:
    world.number(OLD)
    world.number(NEW)

    async def tell(office: Office) -> None:
        world.db.execute("UPDATE sender_numbers SET state = 'stopped' WHERE number_id = %s", [OLD])
        await office.rounds()
        world.deliveries(world.campaign(), 3, route=OLD)
        await office.rounds()
        assert office.shares() == {OLD: 3}
        for _ in range(2):  # the two looks that follow a change
            world.db.execute("UPDATE routed_pools SET look_at = now()")
            await office.rounds(1)
        assert office.shares() == {NEW: 3}
        assert world.db.execute("SELECT look_at FROM routed_pools").fetchone() == (None,)

    story(world, tell)


def test_a_tenant_that_gets_its_own_number_leaves_those_of_all_tenants(world: World) -> None:
    world.number(OLD, tenant_id="*")
    world.deliveries(world.campaign(), 10)

    async def tell(office: Office) -> None:
        await office.rounds()
        assert office.shares() == {OLD: 10}
        world.number(NEW)
        await office.rounds()
        assert office.shares() == {NEW: 10}

    story(world, tell)


def test_the_last_number_of_a_tenant_goes_to_another_and_comes_back(world: World) -> None:
    """Deliveries follow to the numbers of all tenants and back; the number is a new one to each tenant."""
    world.tenant("other")
    world.number(NEW, tenant_id="*")
    draft = NumberDraft(OLD, TENANT, "meta-cloud", "https://graph.test", "ACME_TOKEN")
    save_number(world.db, draft)
    world.db.execute("UPDATE sender_numbers SET open_since = '2026-01-01' WHERE number_id = %s", [OLD])
    world.deliveries(world.campaign(), 10)

    async def tell(office: Office) -> None:
        await office.rounds()
        assert office.shares() == {OLD: 10}
        before = world.db.execute("SELECT leased_until > now() FROM sender_numbers").fetchall()
        assert (True,) in before
        save_number(world.db, msgspec.structs.replace(draft, tenant_id="other"))
        ended = "SELECT leased_until <= clock_timestamp() FROM sender_numbers WHERE number_id = %s"
        assert world.db.execute(ended, [OLD]).fetchone() == (True,)
        await office.rounds()
        assert office.shares() == {NEW: 10}
        save_number(world.db, draft)
        await office.rounds()
        assert office.shares() == {OLD: 10}
        assert len(await office.claim({OLD: 20})) == 10

    story(world, tell, held=(OLD,))


def test_a_number_without_weight_sends_nothing_that_was_its_own_before(world: World) -> None:
    """Given deliveries that only one provider may still serve: without its numbers they wait for others."""
    world.number(OLD)
    world.number(NEW, provider="uazapi")
    world.deliveries(world.campaign(), 5, refused_by=["meta-cloud"])

    async def tell(office: Office) -> None:
        await office.rounds()
        assert office.shares() == {NEW: 5}
        weigh(world, 100, 0)
        await office.rounds()
        assert office.shares() == {None: 5}
        assert await office.claim({OLD: 9, NEW: 9}) == []
        weigh(world, 90, 10)
        await office.rounds()
        assert office.shares() == {NEW: 5}

    story(world, tell)


def test_a_delivery_that_changes_while_it_is_routed_again_keeps_what_it_is(world: World) -> None:
    """Given a delivery that goes to another channel after it was read, and before its row is held."""
    world.number(OLD)
    world.number(NEW)
    (contact,) = world.deliveries(world.campaign(), contacts=["contact-1"])

    async def tell(office: Office) -> None:
        await office.rounds()
        (home,) = office.routes().values()
        weigh(world, *((0, 100) if home == OLD else (100, 0)))
        # The statement waits in the middle, with its snapshot, until the test lets it go on.
        world.db.execute(
            "CREATE OR REPLACE FUNCTION route_rank(contact text, number_id text, weight integer)"
            " RETURNS double precision LANGUAGE plpgsql IMMUTABLE AS"
            " 'BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN 1; END'"
        )
        world.db.execute("SELECT pg_advisory_lock(42)")
        moving = asyncio.create_task(office.router.follow_changes())
        waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 42 AND NOT granted"
        await asyncio.to_thread(world.wait_until, lambda: world.db.execute(waits).fetchone() == (1,))
        world.db.execute("UPDATE deliveries SET channel = 'sms', route = 'sms-1'")
        world.db.execute("SELECT pg_advisory_unlock(42)")
        assert not await moving
        assert office.routes() == {contact: "sms-1"}

    story(world, tell)


def test_routing_that_stops_for_a_number_that_fails_leaves_no_cursor_open(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.number(OLD)
    world.number(NEW)
    world.deliveries(world.campaign(), 40)

    async def tell(office: Office) -> None:
        await office.rounds()
        weigh(world, 90, 10)
        changed = office.router._changed

        async def fails_meanwhile() -> list[router.ChangedPool]:
            found = await changed()
            world.db.execute("UPDATE sender_numbers SET state = 'stopped' WHERE number_id = %s", [OLD])
            return found

        monkeypatch.setattr(office.router, "_changed", fails_meanwhile)
        unclosed: list[Any] = []
        before = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(finalizer=unclosed.append)
        try:
            await office.router.follow_changes()
        finally:
            sys.set_asyncgen_hooks(*before)
        assert unclosed == []
        await office.rounds()
        assert office.shares() == {NEW: 40}

    story(world, tell, batch_max=7)


def test_deliveries_without_a_number_cost_nothing_while_others_are_routed(world: World) -> None:
    """Given many that no number may serve: an entry of the index is read for each kind of them."""
    world.number(OLD)
    campaign = world.campaign()
    world.deliveries(campaign, 4_000, channel="sms")
    world.deliveries(campaign, 4_000, refused_by=["meta-cloud"])
    ready = world.deliveries(campaign, 3)
    world.db.execute("ANALYZE deliveries_of_test")

    async def tell(office: Office) -> None:
        parameters = {"patience_s": 60.0, "sessions": [], "limit": 10}
        explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {router.QUERIES['route_unrouted']}"
        row = world.db.execute(explain, parameters).fetchone()
        assert row is not None
        scans = [
            node for node in nodes(row[0][0]["Plan"]) if node.get("Relation Name") == "deliveries_of_test"
        ]
        assert {node["Node Type"] for node in scans} <= {"Index Scan", "Index Only Scan", "ModifyTable"}
        assert sum(node["Actual Rows"] * node["Actual Loops"] for node in scans) <= 20
        assert {office.routes()[contact] for contact in ready} == {OLD}

    story(world, tell)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Of a plan of PostgreSQL, with those below."""
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def test_a_delivery_that_waits_for_a_budget_is_due_at_once_with_a_number_of_another(world: World) -> None:
    world.number(OLD, portfolio_id="loja")
    world.number(NEW, portfolio_id="other")
    campaign = world.campaign()
    moved = world.deliveries(campaign, 3, route=OLD, due_at="2999-01-01")
    stays = world.deliveries(campaign, 2, route=NEW, due_at="2999-01-01")
    back = world.deliveries(campaign, 1, due_at="2999-01-01")  # its number is to be chosen
    for contacts, budget in ((moved, "loja"), (stays, "other"), (back, "loja")):
        world.db.execute(
            "INSERT INTO budget_bookings"
            " (campaign_month, campaign_id, contact_id, tenant_id, budget_id, priority, due_at)"
            " SELECT campaign_month, campaign_id, contact_id, tenant_id, %s, 0, due_at"
            " FROM deliveries WHERE contact_id = ANY (%s)",
            [f"portfolio:{budget}", contacts],
        )

    async def tell(office: Office) -> None:
        weigh(world, 0, 100)
        await office.rounds()
        due = "SELECT contact_id FROM deliveries WHERE due_at <= now()"
        assert {one for (one,) in world.db.execute(due)} == {*moved, *back}
        booked = "SELECT contact_id FROM budget_bookings"
        assert {one for (one,) in world.db.execute(booked)} == set(stays)
        # The same, where the number goes to another portfolio.
        world.db.execute("UPDATE sender_numbers SET portfolio_id = 'third' WHERE number_id = %s", [NEW])
        await office.rounds()
        assert world.db.execute(booked).fetchall() == []
        assert len(await office.claim({NEW: 9})) == 6

    story(world, tell)


def test_a_provider_has_its_percentage_over_its_numbers_and_the_change_is_audited(world: World) -> None:
    world.number(OLD)
    world.number(NEW, provider="uazapi")
    world.number(THIRD, provider="uazapi")
    after = set_weights(world.db, "ana", TENANT, parse_shares(TENANT, ["meta-cloud=90", "uazapi=10"]))
    assert {(one.number_id, one.share_percent) for one in after} == {(OLD, 90), (NEW, 5), (THIRD, 5)}
    set_weights(world.db, "ana", TENANT, {OLD: 90, "uazapi": 10})  # the same: not a second entry
    logged = world.db.execute("SELECT actor, action, subject, detail -> 'percents' FROM audit_log").fetchall()
    assert logged == [("ana", "number.weights", TENANT, {"meta-cloud": 90, "uazapi": 10})]


@pytest.mark.parametrize(
    ("shares", "problem"),
    [
        (["meta-cloud"], "is not NUMBER=PERCENT"),
        (["meta-cloud=1e2"], "is not NUMBER=PERCENT"),
        (["meta-cloud=-5"], "is not NUMBER=PERCENT"),
        ([f"{OLD}=50", f"{NEW}=40"], "add up to 90 percent"),
        ([f"{OLD}=100"], f"numbers without a weight: {NEW}"),
        ([f"{OLD}=50", "meta-cloud=50"], "has two weights"),
        (["telegram=100"], '"telegram" is neither a number'),
    ],
)
def test_weights_that_are_incomplete_are_rejected(world: World, shares: list[str], problem: str) -> None:
    world.number(OLD)
    world.number(NEW)
    with pytest.raises(WeightsRejected, match=problem):
        set_weights(world.db, "ana", TENANT, parse_shares(TENANT, shares))
    assert world.db.execute("SELECT DISTINCT weight FROM sender_numbers").fetchall() == [(100,)]
