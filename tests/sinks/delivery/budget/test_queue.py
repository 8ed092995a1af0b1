"""The queue of a budget: who is next, and who does not have to wait any more."""

from __future__ import annotations

import asyncio

from sinks.delivery.budget.policy import PORTFOLIOS_ONLY
from sinks.delivery.operator.limits import LimitsChange, change_limits
from tests.sinks.delivery.budget.senders import DAY_S, NUMBERS, Clock, Sender, leased, portfolio, story
from tests.support.sender_world import World

ONE = NUMBERS[:1]


def bookings(world: World) -> tuple[int, int]:
    """As they are counted, and as the rows say."""
    counts = world.db.execute(
        "SELECT (SELECT coalesce(sum(q.value::integer), 0) FROM budgets, jsonb_each(booked) AS q),"
        " (SELECT count(*) FROM budget_bookings)"
    ).fetchone()
    assert counts is not None
    return int(counts[0]), int(counts[1])


def test_who_waits_for_a_limit_that_ends_is_due_at_once(world: World) -> None:
    portfolio(world, 1, ONE)
    world.deliveries(world.campaign(), 4)

    async def tell(senders: list[Sender]) -> None:
        (sender,) = senders
        assert len(await sender.sends()) == 1
        assert bookings(world) == (3, 3)
        change_limits(world.db, "operator", NUMBERS[0], LimitsChange(unlimited=True), PORTFOLIOS_ONLY)
        await sender.ledger.budgets()
        assert len(await sender.sends()) == 3
        assert bookings(world) == (0, 0)

    story(world, tell, ONE)


def test_of_several_processes_one_moves_a_queue_up_in_the_time_of_a_round(world: World) -> None:
    portfolio(world, 1)
    world.deliveries(world.campaign(), 3)

    async def tell(senders: list[Sender]) -> None:
        assert len(await senders[0].sends()) == 1
        looked = "SELECT looked_at FROM budgets"
        await asyncio.gather(*(sender.ledger.budgets() for sender in senders))
        first = world.db.execute(looked).fetchone()
        assert first is not None
        change_limits(world.db, "operator", NUMBERS[0], LimitsChange(people_max=2), PORTFOLIOS_ONLY)
        for sender in senders:
            await sender.ledger.budgets()
            assert await sender.sends() == []
        assert world.db.execute(looked).fetchone() == first
        world.db.execute("UPDATE budgets SET looked_at = looked_at - interval '15 s'")
        await senders[1].ledger.budgets()
        assert len(await senders[2].sends()) == 1

    story(world, tell)


def test_an_urgent_campaign_is_before_those_that_wait(world: World) -> None:
    """Given a budget that is used up and a queue of two days: the urgent ones go with the next places."""
    portfolio(world, 10, ONE)
    usual = set(world.deliveries(world.campaign(), 30))
    clock = Clock(world)
    called: list[str] = []

    async def tell(senders: list[Sender]) -> None:
        (sender,) = senders
        assert len(await sender.sends()) == 10
        clock.passes(DAY_S / 2)
        urgent = set(world.deliveries(world.campaign(), 10, priority=5))
        assert await sender.sends() == []
        for _ in range(20):
            due_s = clock.until_due_s()
            if due_s is None:
                break
            clock.passes(due_s + 0.5 if due_s else 0.0)
            called.extend(await sender.sends())
        assert set(called[:10]) == urgent
        assert set(called[10:]) <= usual
        assert len(called) == 30
        assert bookings(world) == (0, 0)

    story(world, tell, ONE)


def test_an_old_urgent_campaign_gives_its_successor_no_advantage_to_the_queue(world: World) -> None:
    """Given an urgent delivery that has gone: a less urgent one is before the others none the less."""
    portfolio(world, 1, ONE)
    world.deliveries(world.campaign(), 3)
    clock = Clock(world)

    async def tell(senders: list[Sender]) -> None:
        (sender,) = senders
        assert len(await sender.sends()) == 1
        for priority in (9, 5):
            (urgent,) = world.deliveries(world.campaign(), 1, priority=priority)
            assert await sender.sends() == []
            clock.passes(DAY_S + 70)
            assert await sender.sends() == [urgent]

    story(world, tell, ONE)


def test_a_number_that_leaves_its_portfolio_leaves_nobody_in_the_queue(world: World) -> None:
    """Given the only number of a portfolio: nobody waits for the portfolio after it has gone to another."""
    portfolio(world, 1, ONE)
    leased(world, NUMBERS[1], portfolio_id="other")
    world.deliveries(world.campaign(), 3)

    async def tell(senders: list[Sender]) -> None:
        sender = senders[0]
        assert len(await sender.sends()) == 1
        change_limits(world.db, "operator", NUMBERS[0], LimitsChange(portfolio_id="other"), PORTFOLIOS_ONLY)
        await sender.ledger.budgets()
        assert len(await sender.sends()) == 2
        assert bookings(world) == (0, 0)

    story(world, tell, NUMBERS[:2])
