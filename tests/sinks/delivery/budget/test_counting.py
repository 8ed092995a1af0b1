"""What counts in a budget, and what is taken back: exact for each person, whatever calls end how."""

from __future__ import annotations

from sinks.delivery.rows import Marked
from sinks.delivery.state import DeliveryState
from tests.sinks.delivery.budget.senders import NUMBERS, Sender, portfolio, story, used
from tests.support.sender_world import World


def test_of_two_calls_to_one_person_in_one_mark_a_rejected_one_takes_nothing_of_the_other_back(
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
