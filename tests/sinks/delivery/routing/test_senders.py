"""Routes under load: sender processes, a provider simulator, and numbers that change or fail meanwhile."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from ops.simulated_instances import twilio_credential
from pipeline.runtime.settings import DEVELOPMENT_ACCESS_TOKEN
from schemas.records import ChannelText
from sinks.delivery.routing.weights import set_weights
from tests.sinks.delivery.routing.office import NEW, OLD, change
from tests.support.sender_world import TENANT, World

SMS = "15005550006"
NOT_ON_WHATSAPP = 131026
SPAM = 131048  # the provider's code after which the number is quarantined


def sent_from(world: World) -> dict[str, str]:
    """By recipient, the number from which the provider took the last message."""
    return {call["to"]: call["number"] for call in world.calls() if call["wamid"] is not None}


def test_a_migration_in_steps_under_load_moves_each_contact_once(world: World) -> None:
    world.number(OLD, messages_per_s=1_000)
    world.number(NEW, messages_per_s=1_000)
    contacts = [f"contact-{number}" for number in range(300)]
    set_weights(world.db, "test", TENANT, {OLD: 100, NEW: 0})
    world.simulator()
    world.sender()
    homes: list[dict[str, str]] = []
    for step, percent in enumerate((0, 10, 50, 100), start=1):
        # The campaign's deliveries wait already: what is not claimed yet follows.
        world.deliveries(world.campaign(), contacts=contacts)
        set_weights(world.db, "test", TENANT, {OLD: 100 - percent, NEW: percent})
        expected = step * len(contacts)
        world.wait_for(sent=expected)
        homes.append(sent_from(world))
    assert set(homes[0].values()) == {OLD}
    assert set(homes[-1].values()) == {NEW}
    for before, after in pairwise(homes):
        assert all(after[to] == NEW for to in before if before[to] != after[to])
    assert set(world.taken_by_recipient().values()) == {4}


def test_a_number_that_is_banned_in_mid_campaign_gives_its_queue_to_another(world: World) -> None:
    world.number(OLD)
    world.number(NEW)
    contacts = world.deliveries(world.campaign(), 200)
    world.simulator()
    world.rule("error", code=SPAM, number=OLD, skip=5)
    world.sender()
    world.wait_for(sent=200)
    assert world.db.execute(
        "SELECT state, reason LIKE %s FROM sender_numbers WHERE number_id = %s", [f"%{SPAM}%", OLD]
    ).fetchone() == ("quarantined", True)
    taken = world.taken_by_recipient()
    assert taken == Counter(world.phone(contact) for contact in contacts)
    by_number = Counter(sent_from(world).values())
    assert by_number[OLD] <= 5
    assert by_number[OLD] + by_number[NEW] == 200


@pytest.mark.parametrize("point", ["routing", "routed"])
def test_killed_between_the_new_route_and_the_claim_nobody_gets_it_twice(world: World, point: str) -> None:
    """Given a number that is held with a queue: a sender is killed while it moves that, another goes on."""
    world.number(OLD, state="quarantined")
    world.number(NEW)
    contacts = world.deliveries(world.campaign(), 30, route=OLD)
    world.simulator()
    killed = world.sender(f"sender.{point}:kill:1")
    world.wait_until(lambda: killed.poll() is not None)
    world.sender()
    world.wait_for(sent=30)
    assert world.taken_by_recipient() == Counter(world.phone(contact) for contact in contacts)
    assert set(sent_from(world).values()) == {NEW}


def test_who_is_not_on_whatsapp_gets_one_sms_and_the_others_none(world: World) -> None:
    world.number(OLD)
    world.number(SMS, provider="twilio", channel="sms", kinds=["text"], credential="ACME_TWILIO")
    campaign = world.campaign()
    change(world, campaign, next_channels=[ChannelText("sms", "Hello {name}!")])
    contacts = world.deliveries(campaign, 12)
    world.simulator()
    absent = {world.phone(contact) for contact in contacts[:4]}
    for phone in absent:
        world.rule("error", code=NOT_ON_WHATSAPP, to=phone, number=OLD)
    world.sender(env={"ACME_TWILIO": twilio_credential(DEVELOPMENT_ACCESS_TOKEN)})
    world.wait_for(sent=12)
    assert set(world.taken_by_recipient().values()) == {1}
    by_sms = {to.removeprefix("+") for to, number in sent_from(world).items() if number.endswith(SMS)}
    assert by_sms == absent
    channels = "SELECT channel, count(*) FROM delivery_attempts WHERE outcome = 'sent' GROUP BY channel"
    assert dict(world.db.execute(channels).fetchall()) == {"whatsapp": 8, "sms": 4}
