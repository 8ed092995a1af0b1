"""The ledger's transactions on a real PostgreSQL: who may call, and what forbids it between lease and
mark.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from uuid import uuid4

import pytest

from schemas.codec import codec
from sinks.delivery import stop_switch
from sinks.delivery.rows import (
    NUMBER_LOST,
    Marked,
    NotMarked,
    Result,
    Settled,
    StopScope,
    SuppressContact,
)
from sinks.delivery.state import DeliveryState
from sinks.postgres.pool import open_pool
from tests.support.desk import Desk, desk_of, numbers_of, story
from tests.support.sender_world import NUMBER, TENANT, World


def test_ten_claims_at_once_lease_each_delivery_once_and_ten_marks_of_one_lease_let_one_call(
    world: World,
) -> None:
    world.deliveries(world.campaign(), 40)

    async def tell(desk: Desk) -> None:
        claims = await asyncio.gather(*(desk.claim(limit=7) for _ in range(10)))
        leased = [one for claim in claims for one in claim]
        assert len(leased) == len({one.key for one in leased}) == 40
        answers = await asyncio.gather(*(desk.mark(leased[0]) for _ in range(10)))
        assert sum(isinstance(answer, Marked) for answer in answers) == 1

    story(world, tell)


def test_the_most_urgent_come_first_then_the_oldest(world: World) -> None:
    campaign = world.campaign()
    old = world.deliveries(campaign, due_at="2026-01-01")[0]
    older = world.deliveries(campaign, due_at="2025-01-01")[0]
    urgent = world.deliveries(campaign, priority=5, due_at="2026-02-01")[0]
    world.deliveries(campaign, due_at="2999-01-01", priority=9)

    async def tell(desk: Desk) -> None:
        assert [one.key.contact_id for one in await desk.claim()] == [urgent, older, old]

    story(world, tell)


def test_a_large_tenant_does_not_take_every_place_of_a_shared_number(world: World) -> None:
    world.tenant("small")
    world.deliveries(world.campaign(), 30)
    world.deliveries(world.campaign(tenant_id="small"), 2, tenant_id="small")

    async def run() -> None:
        world.number(tenant_id="*")
        async with desk_of(world) as desk:
            claimed = await desk.claim(limit=10)
            assert len(claimed) == 10
            assert sum(one.tenant_id == "small" for one in claimed) == 2

    asyncio.run(run())


def test_a_tenant_with_a_number_of_its_own_is_not_written_to_from_a_shared_one(world: World) -> None:
    world.number("551100000002", state="stopped")
    world.deliveries(world.campaign(), 3)

    async def run() -> None:
        world.number(tenant_id="*")
        async with desk_of(world) as desk:
            assert await desk.claim() == []

    asyncio.run(run())


def forbid_by_suppression(world: World, contact_id: str, _campaign: str) -> None:
    world.db.execute("INSERT INTO suppressions VALUES (%s, %s, 'STOP')", [TENANT, contact_id])


def forbid_by_cancelling(world: World, _contact: str, campaign_id: str) -> None:
    world.db.execute("UPDATE campaigns SET cancelled_at = now() WHERE campaign_id = %s", [campaign_id])


def forbid_globally(world: World, _contact: str, _campaign: str) -> None:
    stop_switch.stop_sending(world.db, "global", "test")


def forbid_tenant(world: World, _contact: str, _campaign: str) -> None:
    stop_switch.stop_sending(world.db, stop_switch.scope_of("tenant", TENANT))


def forbid_campaign(world: World, _contact: str, campaign_id: str) -> None:
    stop_switch.stop_sending(world.db, stop_switch.scope_of("campaign", campaign_id))


def forbid_number(world: World, _contact: str, _campaign: str) -> None:
    stop_switch.stop_sending(world.db, stop_switch.scope_of("number", NUMBER))


def pause_number(world: World, _contact: str, _campaign: str) -> None:
    world.db.execute("UPDATE sender_numbers SET state = 'paused'")


def take_number_over(world: World, _contact: str, _campaign: str) -> None:
    world.db.execute("UPDATE sender_numbers SET fencing_token = fencing_token + 1, lease_owner = 'other'")


def end_number_lease(world: World, _contact: str, _campaign: str) -> None:
    world.db.execute("UPDATE sender_numbers SET leased_until = now()")


@pytest.mark.parametrize(
    ("forbid", "state"),
    [
        (forbid_by_suppression, "suppressed"),
        (forbid_by_cancelling, "cancelled"),
        (forbid_globally, "waiting"),
        (forbid_tenant, "waiting"),
        (forbid_campaign, "waiting"),
        (forbid_number, "waiting"),
        (pause_number, "waiting"),
        (take_number_over, "waiting"),
        (end_number_lease, "waiting"),
    ],
)
def test_what_forbids_a_call_between_lease_and_mark_is_heeded(
    world: World, forbid: Callable[[World, str, str], None], state: str
) -> None:
    campaign = world.campaign()
    contact, other = world.deliveries(campaign, 2)

    async def tell(desk: Desk) -> None:
        leased = await desk.claim()
        forbid(world, contact, campaign)
        mine = next(one for one in leased if one.key.contact_id == contact)
        answer = await desk.mark(mine)
        assert isinstance(answer, NotMarked)
        assert answer.state == state
        assert world.state(contact)[0] == state
        assert world.db.execute("SELECT count(*) FROM delivery_attempts").fetchone() == (0,)
        assert world.state(other)[0] == "leased"
        if state == "waiting" and forbid in (pause_number, take_number_over, end_number_lease):
            assert answer.reason == NUMBER_LOST

    story(world, tell)


def test_what_is_stopped_is_not_even_leased(world: World) -> None:
    stopped = world.campaign()
    world.deliveries(stopped, 5)
    free = world.deliveries(world.campaign())[0]

    async def tell(desk: Desk) -> None:
        stop_switch.stop_sending(world.db, stop_switch.scope_of("campaign", stopped))
        assert [one.key.contact_id for one in await desk.claim()] == [free]
        stop_switch.stop_sending(world.db, stop_switch.scope_of("tenant", TENANT))
        assert await desk.claim() == []
        stop_switch.resume_sending(world.db, stop_switch.scope_of("tenant", TENANT))
        stop_switch.resume_sending(world.db, stop_switch.scope_of("campaign", stopped))
        assert len(await desk.claim()) == 5

    story(world, tell)


def test_a_lease_that_ran_out_is_reclaimed_and_its_old_holder_marks_nothing(world: World) -> None:
    contact = world.deliveries(world.campaign())[0]

    async def tell(desk: Desk) -> None:
        (old,) = await desk.claim(lease_s=0)
        assert isinstance(await desk.mark(old), NotMarked)
        assert await desk.ledger.reclaim() == (1, 0)
        (new,) = await desk.claim()
        assert await desk.mark(old) == NotMarked(None, "the lease is not ours any more")
        assert isinstance(await desk.mark(new), Marked)
        assert world.state(contact)[0] == "calling"

    story(world, tell)


def test_a_call_whose_sender_was_lost_is_ambiguous_until_its_own_late_result(world: World) -> None:
    contact = world.deliveries(world.campaign())[0]

    async def tell(desk: Desk) -> None:
        (leased,) = await desk.claim()
        attempt_id = uuid4()
        assert isinstance(await desk.mark(leased, attempt_id, lease_s=0), Marked)
        assert await desk.ledger.reclaim() == (0, 1)
        assert world.state(contact)[0] == "ambiguous"
        assert await desk.claim() == []
        other = Result(leased.key, uuid4(), DeliveryState.SENT, "sent", provider_message_id="no")
        await desk.ledger.record([other])
        assert world.state(contact)[0] == "ambiguous"
        await desk.ledger.record(
            [Result(leased.key, attempt_id, DeliveryState.SENT, "sent", provider_message_id="wamid.1")]
        )
        assert world.state(contact)[0] == "sent"

    story(world, tell)


def test_a_call_under_way_is_not_reclaimed(world: World) -> None:
    world.deliveries(world.campaign())

    async def tell(desk: Desk) -> None:
        (leased,) = await desk.claim()
        await desk.mark(leased)
        assert await desk.ledger.reclaim() == (0, 0)

    story(world, tell)


def test_a_status_that_was_faster_than_the_result_is_not_undone(world: World) -> None:
    contact = world.deliveries(world.campaign())[0]

    async def tell(desk: Desk) -> None:
        (leased,) = await desk.claim()
        attempt_id = uuid4()
        await desk.mark(leased, attempt_id)
        world.db.execute("UPDATE deliveries SET state = 'read', sequence = sequence + 1")
        result = Result(leased.key, attempt_id, DeliveryState.SENT, "sent", provider_message_id="wamid.1")
        await desk.ledger.record([result])
        await desk.ledger.record([result])
        assert world.state(contact)[0] == "read"
        assert world.db.execute("SELECT provider_message_id FROM deliveries").fetchone() == ("wamid.1",)

    story(world, tell)


def test_giving_a_mark_back_whose_commit_was_unknown_changes_nothing_if_it_never_happened(
    world: World,
) -> None:
    contact = world.deliveries(world.campaign())[0]

    async def tell(desk: Desk) -> None:
        (leased,) = await desk.claim()
        back = Result(leased.key, uuid4(), DeliveryState.WAITING, "not_sent", counted=False)
        await desk.ledger.record([back])
        assert world.state(contact)[0] == "leased"
        await desk.ledger.settle([Settled(leased.key, leased.lease_token, DeliveryState.WAITING, "lost")])
        assert world.state(contact) == ("waiting", "lost")
        await desk.ledger.settle([Settled(leased.key, leased.lease_token, DeliveryState.FAILED, "late")])
        assert world.state(contact)[0] == "waiting"

    story(world, tell)


def test_what_follows_from_a_result_is_in_its_transaction(world: World) -> None:
    campaign = world.campaign()
    contact = world.deliveries(campaign)[0]

    async def tell(desk: Desk) -> None:
        (leased,) = await desk.claim()
        attempt_id = uuid4()
        await desk.mark(leased, attempt_id)
        effects = (SuppressContact(TENANT, contact, "131050"), StopScope(f"campaign:{campaign}", "132000"))
        await desk.ledger.record(
            [
                Result(
                    leased.key,
                    attempt_id,
                    DeliveryState.SUPPRESSED,
                    "rejected",
                    "131050",
                    code="131050",
                    action="suppress",
                    effects=effects,
                )
            ]
        )
        assert world.db.execute("SELECT contact_id, reason FROM suppressions").fetchall() == [
            (contact, "131050")
        ]
        assert [stop.scope for stop in stop_switch.stops(world.db)] == [f"campaign:{campaign}"]
        attempt = world.db.execute(
            "SELECT provider, outcome, provider_code, action, detail FROM delivery_attempts"
        ).fetchone()
        assert attempt == ("meta-cloud", "rejected", "131050", "suppress", "131050")

    story(world, tell)


def test_every_change_leaves_an_event_with_the_next_sequence(world: World) -> None:
    world.deliveries(world.campaign())

    async def tell(desk: Desk) -> None:
        (leased,) = await desk.claim()
        attempt_id = uuid4()
        await desk.mark(leased, attempt_id)
        await desk.ledger.record(
            [Result(leased.key, attempt_id, DeliveryState.SENT, "sent", provider_message_id="wamid.1")]
        )
        rows = world.db.execute("SELECT topic, key, value FROM outbox ORDER BY id").fetchall()
        events = [codec("delivery_event").decode(value) for _, _, value in rows]
        assert [(event.sequence, event.state) for event in events] == [
            (2, "leased"),
            (3, "calling"),
            (4, "sent"),
        ]
        assert {topic for topic, _, _ in rows} == {"delivery_events"}
        assert {key for _, key, _ in rows} == {leased.delivery_id.encode()}
        assert events[-1].provider_message_id == "wamid.1"

    story(world, tell)


def test_a_number_has_one_holder_and_its_token_grows_at_each_take_over(world: World) -> None:
    world.number()

    async def run() -> None:
        pool = open_pool(world.database_url, connections_max=4, statement_timeout_ms=30_000)
        await pool.open()
        try:
            first, second = numbers_of(pool, "first"), numbers_of(pool, "second")
            assert (await first.lease()).numbers[NUMBER].fencing_token == 1
            assert (await first.lease()).numbers[NUMBER].fencing_token == 1
            assert (await second.lease()).numbers == {}
            await first.leave()
            assert (await second.lease()).numbers[NUMBER].fencing_token == 2
            assert (await first.lease()).numbers == {}
            world.db.execute("UPDATE sender_numbers SET leased_until = now()")
            found = [(await each.lease()).numbers for each in (first, second)]
            assert [numbers[NUMBER].fencing_token for numbers in found if numbers] == [3]
            stop_switch.stop_sending(world.db, stop_switch.scope_of("number", NUMBER))
            assert [(await each.lease()).numbers for each in (first, second)] == [{}, {}]
        finally:
            await pool.close()

    asyncio.run(run())


def test_a_stop_waits_for_the_marks_under_way(world: World) -> None:
    """When `stop-sending` has returned, no mark that began before it can still be committed."""
    contact = world.deliveries(world.campaign())[0]

    async def tell(desk: Desk) -> None:
        (leased,) = await desk.claim()
        async with desk.pool.connection() as connection:
            async with connection.transaction():
                await connection.execute("LOCK TABLE sending_stops IN ROW SHARE MODE")  # as a mark does
                stopping = asyncio.create_task(
                    asyncio.to_thread(stop_switch.stop_sending, world.db, "global")
                )
                done, _ = await asyncio.wait([stopping], timeout=0.3)
                assert not done
            await stopping
        answer = await desk.mark(leased)
        assert isinstance(answer, NotMarked)
        assert world.state(contact)[0] == "waiting"

    story(world, tell)
