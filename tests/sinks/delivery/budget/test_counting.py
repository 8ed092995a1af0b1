"""What counts in a budget, and what is taken back: exact for each person, whatever calls end how."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import psycopg
import pytest

from sinks.actions import FailRecipient
from sinks.delivery.budget.policy import PORTFOLIOS_ONLY, BudgetPolicy
from sinks.delivery.consequences import RetryPolicy, consequence
from sinks.delivery.operator.limits import LimitsChange, change_limits
from sinks.delivery.rows import Attempt, Marked
from sinks.delivery.state import DeliveryState
from sinks.outcomes import Outcome, Rejected
from tests.sinks.delivery.budget.senders import (
    FENCING_TOKEN,
    NUMBERS,
    Sender,
    leased,
    portfolio,
    story,
    used,
)
from tests.support.sender_world import World


def test_a_rejected_call_takes_back_nothing_of_another_to_the_same_person(
    world: World,
) -> None:
    portfolio(world, 1, NUMBERS[:1])
    (person,) = world.deliveries(world.campaign())
    world.deliveries(world.campaign(), contacts=[person])

    async def tell(senders: list[Sender]) -> None:
        (sender,) = senders
        called = await sender.mark(await sender.claim())
        assert [answer for _, _, answer in called] == [Marked(), Marked()]
        await sender.ends(called[:1], DeliveryState.SENT, "sent")
        await sender.ends(called[1:], DeliveryState.FAILED, "rejected")
        assert used(world) == 1
        world.deliveries(world.campaign())
        assert await sender.sends() == []

    story(world, tell, NUMBERS[:1])


def test_of_two_calls_to_one_person_in_one_mark_the_first_may_be_the_rejected_one(world: World) -> None:
    portfolio(world, 1, NUMBERS[:1])
    (person,) = world.deliveries(world.campaign())
    world.deliveries(world.campaign(), contacts=[person])

    async def tell(senders: list[Sender]) -> None:
        (sender,) = senders
        called = await sender.mark(await sender.claim())
        await sender.ends(called[:1], DeliveryState.FAILED, "rejected")
        await sender.ends(called[1:], DeliveryState.SENT, "sent")
        assert used(world) == 1

    story(world, tell, NUMBERS[:1])


@pytest.mark.parametrize(
    ("outcome", "uses"),
    [
        (Rejected(FailRecipient(), "500", "no"), 1),
        (Rejected(FailRecipient("provider"), "", "the text is too long", written=False), 0),
    ],
    ids=["by-the-provider", "here"],
)
def test_a_message_that_a_session_number_never_wrote_takes_no_place_of_its_day(
    world: World, outcome: Outcome, uses: int
) -> None:
    number_id = "558185464605"
    leased(world, number_id, provider="uazapi", messages_per_day=None)
    world.deliveries(world.campaign(), 1)
    policy = RetryPolicy(attempts_max=2, base_s=0.0, max_s=0.0, jitter_ratio=0.0)

    async def tell(senders: list[Sender]) -> None:
        (sender,) = senders
        ((one, attempt_id, _),) = await sender.mark(await sender.claim())
        assert used(world) == 1
        attempt = Attempt(one, attempt_id, number_id, FENCING_TOKEN)
        await sender.ledger.record([consequence(attempt, outcome, policy, random.Random(1))])
        assert used(world) == uses

    story(world, tell, [number_id], BudgetPolicy({"uazapi": [2, 4, 8]}))


def test_a_first_limit_counts_the_marks_that_are_not_committed_yet(world: World) -> None:
    """Given a mark of a portfolio without a limit: the operator's limit waits for it, and counts it."""
    leased(world, NUMBERS[0], portfolio_id="loja")
    world.deliveries(world.campaign(), 2)

    def change(connection: psycopg.Connection[Any]) -> None:
        with connection:
            change_limits(connection, "operator", NUMBERS[0], LimitsChange(people_max=1), PORTFOLIOS_ONLY)

    async def tell(senders: list[Sender]) -> None:
        (sender,) = senders
        first = await sender.claim(1)
        held = psycopg.connect(world.database_url)
        held.execute("SELECT FROM deliveries FOR UPDATE")
        marking = asyncio.create_task(sender.mark(first))
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = %s"

        def waits_for(lock: str) -> bool:
            return world.db.execute(waiting, [lock]).fetchone() == (1,)

        await asyncio.to_thread(world.wait_until, lambda: waits_for("transactionid"))
        changing = asyncio.create_task(asyncio.to_thread(change, psycopg.connect(world.database_url)))
        await asyncio.to_thread(world.wait_until, lambda: changing.done() or waits_for("relation"))
        assert not changing.done()
        held.close()
        assert [answer for _, _, answer in await marking] == [Marked()]
        await changing
        assert used(world) == 1
        assert await sender.sends() == []

    story(world, tell, NUMBERS[:1])
