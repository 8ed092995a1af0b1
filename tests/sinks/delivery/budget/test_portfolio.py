"""The budget of a portfolio in the real ledger: shared by its numbers, in any process, on a moving clock."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from sinks.delivery.budget.policy import PORTFOLIOS_ONLY, BudgetPolicy
from sinks.delivery.budget.standing import read_standings
from sinks.delivery.operator.limits import LimitsChange, change_limits
from sinks.delivery.rows import Marked
from sinks.delivery.state import DeliveryState
from sinks.postgres.catalogue.numbers import NumberRejected
from tests.sinks.delivery.budget.senders import (
    DAY_S,
    NUMBERS,
    Clock,
    Sender,
    leased,
    portfolio,
    story,
    used,
    wrote_to,
)
from tests.support.sender_world import TENANT, World


def test_250_people_in_any_24_h_of_four_numbers(world: World) -> None:
    """1,000 contacts, four numbers of one portfolio, each in a process of its own."""
    portfolio(world, 250)
    world.deliveries(world.campaign(), 1_000)
    clock = Clock(world)
    calls: list[float] = []

    async def tell(senders: list[Sender]) -> None:
        (before,) = read_standings(world.db, PORTFOLIOS_ONLY)
        assert (before.limit, before.used, before.waiting) == (250, 0, 1_000)
        assert before.ends_in_s is not None
        forecast_s, rounds = before.ends_in_s, 0
        while (due_s := clock.until_due_s()) is not None:
            rounds += 1
            assert rounds < 100, "something is polled"
            clock.passes(due_s + 0.5 if due_s else 0.0)
            found = await asyncio.gather(*(sender.sends() for sender in senders))
            calls.extend(clock.now_s for _ in itertools.chain(*found))
            if len(calls) == 250:  # the forecast stays right on the way
                (now,) = read_standings(world.db, PORTFOLIOS_ONLY)
                assert (now.used, now.waiting) == (250, 750)
                assert now.ends_in_s is not None
                assert now.ends_in_s + clock.now_s == pytest.approx(forecast_s, rel=0.05)
        assert len(calls) == 1_000
        assert clock.now_s == pytest.approx(forecast_s, rel=0.05)

    story(world, tell)
    assert clock.now_s == pytest.approx(3 * DAY_S, rel=0.05)
    for start in calls:
        assert sum(start <= at < start + DAY_S for at in calls) <= 250


def test_one_in_the_window_already_costs_nothing_and_an_answer_in_24_h_does_not_count(world: World) -> None:
    portfolio(world, 2)
    first = world.deliveries(world.campaign(), 2)
    again = world.campaign()

    async def tell(senders: list[Sender]) -> None:
        one, other = senders[:2]
        assert set(await one.sends()) == set(first)
        world.db.execute(
            "INSERT INTO deliveries (campaign_month, campaign_id, contact_id, delivery_id, tenant_id,"
            " campaign_version, completion_id, completion_day, due_at, created_at)"
            " SELECT campaign_month, %s, contact_id, gen_random_uuid(), tenant_id, 1, completion_id,"
            " completion_day, now(), now() FROM deliveries",
            [again],
        )
        answered, unknown = world.deliveries(again, 2)
        wrote_to(world, answered, other.number_id)
        assert set(await other.sends()) == {*first, answered}
        state, reason = world.state(unknown)
        assert (state, reason) == ("waiting", "the portfolio loja has written to its 2 people of 24 h")

    story(world, tell)


def test_a_person_under_two_ids_counts_once_and_a_rejected_call_gives_its_place_back(world: World) -> None:
    portfolio(world, 2)
    first, alias, third = world.deliveries(world.campaign(), 3)
    world.db.execute(
        "INSERT INTO contact_aliases (tenant_id, alias, contact_id, is_contact, source)"
        " VALUES (%s, %s, %s, true, 'answer')",
        [TENANT, alias, first],
    )
    world.db.execute(
        "UPDATE deliveries SET campaign_id = %s WHERE contact_id = %s", [world.campaign(), alias]
    )

    async def tell(senders: list[Sender]) -> None:
        sender = senders[0]
        called = await sender.mark(await sender.claim())
        assert all(isinstance(answer, Marked) for _, _, answer in called)
        assert used(world) == 2
        rejected = [each for each in called if each[0].key.contact_id == third]
        for _ in range(2):  # the same result again gives nothing back twice
            await sender.ends(rejected, DeliveryState.FAILED, "rejected")
            assert used(world) == 1
        fourth, fifth = world.deliveries(world.campaign(), 2)
        assert len(await sender.sends()) == 1
        assert {world.state(one)[0] for one in (fourth, fifth)} == {"sent", "waiting"}

    story(world, tell)


def test_the_queue_moves_up_when_the_limit_is_raised_and_nobody_waits_for_a_stopped_campaign(
    world: World,
) -> None:
    portfolio(world, 1)
    stopped, other = world.campaign(), world.campaign()
    world.deliveries(stopped, 4)

    async def tell(senders: list[Sender]) -> None:
        sender = senders[0]
        assert len(await sender.sends()) == 1
        behind = world.deliveries(other, 2)
        assert await sender.sends() == []
        assert world.states() == {"sent": 1, "waiting": 5}
        world.db.execute("INSERT INTO sending_stops (scope) VALUES (%s)", [f"campaign:{stopped}"])
        change_limits(world.db, "operator", NUMBERS[0], LimitsChange(people_max=3), PORTFOLIOS_ONLY)
        (standing,) = await sender.ledger.budgets()
        assert (standing.limit, standing.used, standing.waiting) == (3, 1, 5)
        assert set(await sender.sends()) == set(behind)

    story(world, tell)


def test_marks_at_once_take_the_last_place_once(world: World) -> None:
    portfolio(world, 3)
    world.deliveries(world.campaign(), 40)

    async def tell(senders: list[Sender]) -> None:
        claims = [await sender.claim(10) for sender in senders]
        marked = await asyncio.gather(
            *(sender.mark([one]) for sender, claim in zip(senders, claims, strict=True) for one in claim)
        )
        assert sum(isinstance(answer, Marked) for each in marked for _, _, answer in each) == 3
        # Their processes are lost: what they may have sent stays counted.
        world.db.execute("UPDATE deliveries SET leased_until = now() WHERE state = 'calling'")
        assert (await senders[0].ledger.reclaim())[1] == 3
        assert used(world) == 3
        assert await senders[1].sends() == []

    story(world, tell)


def test_a_session_number_starts_low_and_grows(world: World) -> None:
    number_id = "558185464605"
    leased(world, number_id, provider="uazapi", messages_per_day=None)
    world.deliveries(world.campaign(), 30)
    policy = BudgetPolicy({"uazapi": [2, 4, 8]})
    clock = Clock(world)
    by_day = []
    for _ in range(4):  # a day each, of a new process

        async def tell(senders: list[Sender]) -> None:
            sender = senders[0]
            first = await sender.sends()
            await sender.ledger.budgets()  # the limit has grown: the queue moves up
            by_day.append(len(first) + len(await sender.sends()))
            assert world.states()["waiting"] == 30 - sum(by_day)

        story(world, tell, [number_id], policy)
        clock.passes(DAY_S + 70)
    assert by_day == [2, 4, 8, 8]
    (standing,) = read_standings(world.db, policy)
    assert (standing.limit, standing.used, standing.waiting, standing.ends_in_s) == (8, 0, 8, 0.0)


def test_an_old_session_number_begins_at_a_later_day(world: World) -> None:
    leased(world, "558185464605", provider="uazapi", messages_per_day=None)
    world.deliveries(world.campaign(), 9)
    policy = BudgetPolicy({"uazapi": [2, 4, 8]})
    change_limits(world.db, "operator", "558185464605", LimitsChange(day=3), policy)

    async def tell(senders: list[Sender]) -> None:
        assert len(await senders[0].sends()) == 8

    story(world, tell, ["558185464605"], policy)
    with pytest.raises(NumberRejected, match="no portfolio"):
        change_limits(world.db, "operator", "558185464605", LimitsChange(people_max=3), policy)


def test_a_portfolio_that_gets_a_limit_counts_the_people_of_the_last_24_h(world: World) -> None:
    for number_id in NUMBERS:
        leased(world, number_id)
    world.deliveries(world.campaign(), 5)

    async def tell(senders: list[Sender]) -> None:
        assert len(await senders[0].sends(3)) == 3
        with pytest.raises(NumberRejected, match="its portfolio is not known"):
            change_limits(world.db, "operator", NUMBERS[0], LimitsChange(people_max=3), PORTFOLIOS_ONLY)
        for number_id in NUMBERS:
            change = LimitsChange(portfolio_id="loja", people_max=3)
            change_limits(world.db, "operator", number_id, change, PORTFOLIOS_ONLY)
        assert used(world) == 3
        assert await senders[1].sends() == []
        assert world.states() == {"sent": 3, "waiting": 2}

    story(world, tell)
