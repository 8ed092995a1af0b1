"""Routes under load: sender processes, a provider simulator, and numbers that change or fail meanwhile."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest

from ops.simulated_instances import SMTP_SECRET, smtp_credential, twilio_credential
from pipeline.runtime.settings import DEVELOPMENT_ACCESS_TOKEN
from schemas.records import ChannelText
from sinks.delivery.routing.weights import set_weights
from tests.sinks.delivery.routing.office import NEW, OLD, change
from tests.support.sender_world import TENANT, World, email_of

SMS, MAIL = "15005550006", "news@acme.example"
NOT_ON_WHATSAPP = 131026
SPAM = 131048  # the provider's code after which the number is quarantined


def sent_from(world: World) -> dict[str, str]:
    """By recipient, the number from which the provider took the last message."""
    return {call["to"]: call["number"] for call in world.calls() if call["wamid"] is not None}


def test_a_migration_in_steps_under_load_moves_each_contact_once(world: World) -> None:
    """Weights of 0, 10, 50 and 100 % while deliveries are sent: the shares are exact within two points."""
    world.number(OLD, messages_per_s=1_000)
    world.number(NEW, messages_per_s=1_000)
    contacts = [f"contact-{number}" for number in range(400)]
    set_weights(world.db, "test", TENANT, {OLD: 100, NEW: 0})
    world.simulator()
    world.sender()
    homes: list[dict[str, str]] = []
    campaigns = 0
    for percent in (0, 10, 50, 50, 100):
        if campaigns:
            # The campaign's deliveries are sent already: what is not claimed yet follows.
            world.deliveries(world.campaign(), contacts=contacts)
            before_it = campaigns * len(contacts)
            campaigns += 1
            world.wait_until(lambda least=before_it: world.states().get("sent", 0) > least)  # type: ignore[misc]
        set_weights(world.db, "test", TENANT, {OLD: 100 - percent, NEW: percent})
        world.wait_for(**({"sent": campaigns * len(contacts)} if campaigns else {}))
        world.deliveries(world.campaign(), contacts=contacts)
        campaigns += 1
        world.wait_for(sent=campaigns * len(contacts))
        homes.append(sent_from(world))
        share = 100 * sum(number == NEW for number in homes[-1].values()) / len(contacts)
        assert abs(share - percent) <= 2
    assert homes[2] == homes[3]  # the same weights: everybody keeps the number
    for before, after in pairwise(homes):
        assert all(after[to] == NEW for to in before if before[to] != after[to])
    assert set(world.taken_by_recipient().values()) == {campaigns}


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


def test_over_three_channels_everybody_gets_one_message_on_one_of_them(world: World) -> None:
    """WhatsApp, then SMS, then e-mail, each from its own server. Whose end is not known gets no other."""
    world.number(OLD)
    world.number(SMS, provider="twilio", channel="sms", kinds=["text"], credential="ACME_TWILIO")
    world.number(
        MAIL,
        provider="smtp",
        channel="email",
        kinds=["text"],
        base_url=world.simulator_smtp_url,
        credential="ACME_SMTP",
    )
    campaign = world.campaign()
    steps = [ChannelText("sms", "Hello {name}!"), ChannelText("email", "Dear {name}, hello.")]
    change(world, campaign, next_channels=steps)
    world.simulator()
    contacts = world.deliveries(campaign, 15, due_at="2999-01-01")
    phones = [world.phone(contact) for contact in contacts]
    by_whatsapp, by_sms, by_mail = set(phones[:4]), set(phones[4:8]), set(phones[8:11])
    nowhere, unknown = set(phones[11:13]), set(phones[13:])
    for contact, phone in zip(contacts, phones, strict=True):
        address = "nobody@person.example" if phone in nowhere else email_of(phone)
        world.db.execute("UPDATE contacts SET email = %s WHERE contact_id = %s", [address, contact])
    for phone in by_sms | by_mail | nowhere:
        world.rule("error", code=NOT_ON_WHATSAPP, to=phone, number=OLD)
    for phone in by_mail | nowhere:
        for written in (phone, f"+{phone}"):
            world.rule("error", code=NOT_ON_WHATSAPP, to=written)  # in the words of each provider
    for phone in unknown:
        world.rule("half", taken=True, to=phone, number=OLD)
    world.db.execute("UPDATE deliveries SET due_at = now()")
    world.sender(
        env={
            "ACME_TWILIO": twilio_credential(DEVELOPMENT_ACCESS_TOKEN),
            "ACME_SMTP": smtp_credential(DEVELOPMENT_ACCESS_TOKEN),
            SMTP_SECRET: "secret",
        }
    )
    world.wait_for(sent=11, failed=2, ambiguous=2)

    taken = Counter((phone_of(call["to"]), channel_of(call)) for call in world.calls() if call["wamid"])
    wanted = {
        **dict.fromkeys(by_whatsapp | unknown, "whatsapp"),
        **dict.fromkeys(by_sms, "sms"),
        **dict.fromkeys(by_mail, "email"),
    }
    assert taken == Counter(wanted.items())
    channels = "SELECT channel, count(*) FROM delivery_attempts WHERE outcome = 'sent' GROUP BY channel"
    assert dict(world.db.execute(channels).fetchall()) == {"whatsapp": 4, "sms": 4, "email": 3}
    tried = "SELECT count(*) FROM delivery_attempts GROUP BY delivery_id ORDER BY 1"
    assert [count for (count,) in world.db.execute(tried)] == [1] * 6 + [2] * 4 + [3] * 5


def phone_of(address: str) -> str:
    """Of a phone or an e-mail address."""
    return address.removeprefix("+").partition("@")[0]


def channel_of(call: dict[str, Any]) -> str:
    if "@" in call["to"]:
        return "email"
    return "sms" if call["number"].endswith(SMS) else "whatsapp"
