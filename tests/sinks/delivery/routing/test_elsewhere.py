"""Where a delivery goes instead of ending, on a real PostgreSQL: one message, by exactly one route."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from uuid import uuid4

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import ChannelText, Message, Variable
from sinks.actions import (
    Action,
    FailCampaign,
    FailMessage,
    FailRecipient,
    HoldNumber,
    HoldTemplate,
    Retry,
    Suppress,
    Throttle,
)
from sinks.delivery.consequences import RetryPolicy, consequence
from sinks.delivery.rows import Attempt, Leased, Marked, Settled
from sinks.delivery.state import DEAD, FAILED, SENT, WAITING, DeliveryState
from sinks.outcomes import Ambiguous, NotCalled, NotWritten, Outcome, Rejected, Sent
from tests.sinks.delivery.routing.office import NEW, OLD, Office, change, story
from tests.support.sender_world import HELLO, TENANT, World

SMS, MAIL = "sms-1", "mail-1"
NEXT = [ChannelText("sms", "Hello {name}!"), ChannelText("email", "Dear {name}, hello.")]
POLICY = RetryPolicy(attempts_max=2, base_s=0.0, max_s=0.0, jitter_ratio=0.0)
NOT_ON_IT = Rejected(FailRecipient(), "131026", "not on it")
OTHERS_COULD = Rejected(FailRecipient("provider"), "131047", "outside the window")


def on_three_channels(
    world: World, count: int, *, email: bool = True, contacts: Sequence[str] | None = None
) -> list[str]:
    """Numbers of three channels, and deliveries of a campaign that names them."""
    world.number(OLD)
    world.number(SMS, provider="gateway", channel="sms", kinds=["text"])
    world.number(MAIL, provider="post", channel="email", kinds=["text"])
    campaign = world.campaign(HELLO)
    change(world, campaign, next_channels=NEXT)
    contacts = world.deliveries(campaign, count, contacts=contacts)
    if email:
        world.db.execute("UPDATE contacts SET email = contact_id || '@example.org'")
    return contacts


async def call(office: Office, leased: Leased, outcome: Outcome) -> Attempt:
    """Marks the delivery, and records the end of its call, as the sender does."""
    row = office.world.db.execute(
        "SELECT fencing_token FROM sender_numbers WHERE number_id = %s", [leased.route]
    ).fetchone()
    assert row is not None
    attempt = Attempt(leased, uuid4(), leased.route, row[0])
    assert await office.ledger.mark([attempt], lease_s=60) == [Marked()]
    await office.ledger.record([consequence(attempt, outcome, POLICY, random.Random(1))])
    return attempt


async def next_one(office: Office) -> Leased:
    await office.rounds(1)
    (leased,) = await office.claim({OLD: 1, NEW: 1, SMS: 1, MAIL: 1})
    return leased


def shown(world: World) -> tuple[str, str, str]:
    row = world.db.execute("SELECT state, channel, reason FROM deliveries").fetchone()
    assert row is not None
    return row[0], row[1], row[2]


def test_who_is_not_on_whatsapp_gets_the_sms_and_who_cannot_get_that_the_mail(world: World) -> None:
    on_three_channels(world, 1)

    async def tell(office: Office) -> None:
        await call(office, await next_one(office), NOT_ON_IT)
        assert shown(world) == ("waiting", "sms", "not on it; next by sms")
        second = await next_one(office)
        assert (second.route, second.channel, second.attempts) == (SMS, "sms", 0)
        await call(office, second, NOT_ON_IT)
        third = await next_one(office)
        assert (third.route, third.channel) == (MAIL, "email")
        await call(office, third, Sent("mail.1"))
        assert shown(world)[:2] == ("sent", "email")
        rows = "SELECT channel, provider, number_id, outcome FROM delivery_attempts ORDER BY called_at"
        assert world.db.execute(rows).fetchall() == [
            ("whatsapp", "meta-cloud", OLD, "rejected"),
            ("sms", "gateway", SMS, "rejected"),
            ("email", "post", MAIL, "sent"),
        ]

    story(world, tell, held=(OLD, SMS, MAIL))


def test_after_the_last_channel_it_fails_and_a_channel_without_address_or_number_is_left_out(
    world: World,
) -> None:
    on_three_channels(world, 1, email=False)

    async def tell(office: Office) -> None:
        await call(office, await next_one(office), NOT_ON_IT)
        await call(office, await next_one(office), NOT_ON_IT)
        assert shown(world) == ("failed", "sms", "not on it")
        world.db.execute("UPDATE deliveries SET state = 'waiting', channel = 'whatsapp', route = NULL")
        world.db.execute("UPDATE sender_numbers SET weight = 0 WHERE channel = 'sms'")
        await call(office, await next_one(office), NOT_ON_IT)
        assert shown(world) == ("failed", "whatsapp", "not on it")

    story(world, tell, held=(OLD, SMS, MAIL))


def test_attempts_that_are_used_up_and_a_missing_address_lead_to_the_next_channel(world: World) -> None:
    on_three_channels(world, 1)

    async def tell(office: Office) -> None:
        for _ in range(POLICY.attempts_max):
            await call(office, await next_one(office), NotWritten("refused"))
        assert shown(world) == ("waiting", "sms", "2 attempts: refused; next by sms")
        leased = await next_one(office)
        no_phone = Settled(
            leased.key, leased.lease_token, DeliveryState.FAILED, "the contact has no phone", "channel"
        )
        await office.ledger.settle([no_phone])
        assert shown(world) == ("waiting", "email", "the contact has no phone; next by email")

    story(world, tell, held=(OLD, SMS, MAIL))


def test_another_provider_of_the_channel_is_tried_before_the_next_channel(world: World) -> None:
    on_three_channels(world, 1)
    world.number(NEW, provider="uazapi")

    async def tell(office: Office) -> None:
        world.db.execute("UPDATE sender_numbers SET weight = 1000000 WHERE number_id = %s", [OLD])
        first = await next_one(office)
        assert first.route == OLD
        await call(office, first, OTHERS_COULD)
        assert shown(world) == ("waiting", "whatsapp", "outside the window; next by another provider")
        second = await next_one(office)
        assert second.route == NEW
        await call(office, second, OTHERS_COULD)
        assert shown(world)[:2] == ("waiting", "sms")

    story(world, tell, held=(OLD, NEW, SMS, MAIL))


def test_what_is_ambiguous_goes_nowhere_until_its_own_result_proves_it(world: World) -> None:
    on_three_channels(world, 1)

    async def tell(office: Office) -> None:
        attempt = await call(office, await next_one(office), Ambiguous("reset"))
        assert shown(world)[:2] == ("ambiguous", "whatsapp")
        await office.rounds()
        assert await office.claim({OLD: 9, SMS: 9, MAIL: 9}) == []
        await office.ledger.record([consequence(attempt, NOT_ON_IT, POLICY, random.Random(1))])
        assert shown(world)[:2] == ("waiting", "sms")

    story(world, tell, held=(OLD, SMS, MAIL))


OUTCOMES: tuple[Outcome, ...] = (
    NOT_ON_IT,
    OTHERS_COULD,
    NotWritten("refused"),
    NotCalled("slept"),
    Ambiguous("reset"),
    Rejected(Retry(), "131016", "later"),
    Rejected(Throttle("number"), "130429", "slower"),
    Rejected(FailMessage(), "100", "text"),
    Rejected(Suppress(), "131050", "opted out"),
    Sent("id"),
)


def test_whatever_providers_answer_each_contact_has_one_message_at_most(world: World) -> None:
    """Given answers at random: a call that may have sent something is the last of its delivery."""
    # Routes and answers are those of the contact: the same in each run.
    contacts = on_three_channels(world, 120, contacts=[f"contact-{number}" for number in range(120)])
    world.number(NEW, provider="uazapi")

    async def tell(office: Office) -> None:
        outcomes: dict[str, list[Outcome]] = defaultdict(list)
        for _ in range(60):
            await office.rounds(1)
            world.db.execute("UPDATE deliveries SET due_at = now() WHERE state = 'waiting'")
            leased = await office.claim({OLD: 30, NEW: 30, SMS: 30, MAIL: 30})
            for one in leased:
                told = outcomes[one.key.contact_id]
                outcome = random.Random(f"{len(told)} {one.key.contact_id}").choice(OUTCOMES)
                told.append(outcome)
                await call(office, one, outcome)
            if not leased:
                break
        assert set(outcomes) == set(contacts)
        for told in outcomes.values():
            assert not any(isinstance(one, Sent | Ambiguous) for one in told[:-1])
        assert set(world.states()) <= {"sent", "ambiguous", "failed", "dead", "suppressed"}
        sent = "SELECT count(*) FROM delivery_attempts WHERE outcome = 'sent' GROUP BY delivery_id"
        assert set(world.db.execute(sent).fetchall()) <= {(1,)}
        channels = "SELECT channel, count(*) FROM deliveries WHERE state = 'sent' GROUP BY channel"
        assert set(dict(world.db.execute(channels).fetchall())) == {"whatsapp", "sms", "email"}

    story(world, tell, held=(OLD, NEW, SMS, MAIL))


@pytest.mark.parametrize(
    ("action", "elsewhere"),
    [
        (FailRecipient(), "channel"),
        (FailRecipient("provider"), "provider"),
        (FailMessage(), "channel"),
        (FailCampaign(), "nowhere"),
        (HoldNumber("quarantined"), "nowhere"),
        (HoldTemplate(), "nowhere"),
        (Suppress(), "nowhere"),
        (Throttle("number"), "nowhere"),
    ],
)
def test_each_action_says_where_a_delivery_may_still_go(action: Action, elsewhere: str) -> None:
    assert action.elsewhere == elsewhere


@given(st.sampled_from(OUTCOMES), st.integers(0, 9))
def test_only_what_is_certain_not_to_be_sent_goes_elsewhere(outcome: Outcome, attempts: int) -> None:
    leased = msgspec.convert(
        {
            "key": {"campaign_month": "2026-03-01", "campaign_id": "c", "contact_id": "a"},
            "lease_token": uuid4(),
            "delivery_id": "d",
            "tenant_id": TENANT,
            "campaign_version": 1,
            "variables": {},
            "priority": 0,
            "due_at": "2026-03-01T00:00:00Z",
            "created_at": "2026-03-01T00:00:00Z",
            "attempts": attempts,
            "phone": None,
            "personal": {},
        },
        Leased,
    )
    result = consequence(Attempt(leased, uuid4(), OLD, 1), outcome, POLICY, random.Random(1))
    if result.elsewhere != "nowhere" and result.state in (FAILED, DEAD):
        assert not isinstance(outcome, Sent | Ambiguous)
    if isinstance(outcome, Sent | Ambiguous):
        assert result.elsewhere == "nowhere"
        assert result.state is not WAITING
    assert result.state is SENT or not isinstance(outcome, Sent)


def test_the_text_of_a_further_channel_has_the_variables_that_it_uses() -> None:
    from pipeline.campaigns import channels

    both = Message(kind="text", text="{a}{b}", variables=[Variable("a", "score"), Variable("b", "score")])
    text = channels.text_of(both, ChannelText("sms", "Only {a}"))
    assert text == Message(kind="text", text="Only {a}", variables=[Variable("a", "score")])
    assert channels.problems("sms", [ChannelText("sms", "x")]) == ['channel "sms" is named twice']
    assert Counter(channels.problems("whatsapp", NEXT)) == Counter()
