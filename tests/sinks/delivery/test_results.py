"""What follows from a result: stops of campaigns and numbers, opt-outs, and ids of the recipient."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

from schemas.ids import alias_id, contact_id
from sinks.delivery import stop_switch
from sinks.delivery.operator.deliveries import Chosen
from sinks.delivery.operator.redrive import redrive_many
from sinks.delivery.rows import (
    OTHER_FIRST,
    OTHER_FIRST_WAIT_S,
    HoldNumber,
    LearnRecipient,
    Leased,
    Marked,
    NotMarked,
    RejectedAlike,
    Result,
    SuppressContact,
)
from sinks.delivery.state import DeliveryState
from tests.support.desk import KEY, Desk, story
from tests.support.sender_world import NUMBER, TENANT, World


def rejected(leased: Leased, attempt_id: UUID, code: str = "131009") -> Result:
    """Refused for its content; three different recipients in a row stop the campaign."""
    campaign, contact = leased.key.campaign_id, leased.key.contact_id
    alike = RejectedAlike(campaign, contact, code, f"{code} not valid", 3)
    return Result(
        leased.key, attempt_id, DeliveryState.FAILED, "rejected", "not valid", code=code, effects=(alike,)
    )


def test_one_persons_rejection_stops_nobody_else_and_several_in_a_row_do(
    world: World,
) -> None:
    campaign = world.campaign()
    world.deliveries(campaign, 9)

    async def tell(desk: Desk) -> None:
        leased = await desk.claim()
        attempts = [uuid4() for _ in leased]
        for one, attempt_id in zip(leased, attempts, strict=True):
            assert isinstance(await desk.mark(one, attempt_id), Marked)
        results = [rejected(one, attempt_id) for one, attempt_id in zip(leased, attempts, strict=True)]

        assert await desk.ledger.record([results[0], results[0]]) == []
        assert await desk.ledger.record([results[1], rejected(leased[2], attempts[2], "132000")]) == []
        assert stop_switch.stops(world.db) == []
        sent = Result(leased[3].key, attempts[3], DeliveryState.SENT, "sent", provider_message_id="wamid.1")
        await desk.ledger.record([sent])
        assert await desk.ledger.record(results[4:6]) == []
        assert await desk.ledger.record(results[6:8]) == [campaign]
        (stop,) = stop_switch.stops(world.db)
        assert stop.reason == "3 recipients in a row were rejected alike, the last with: 131009 not valid"

        stop_switch.resume_sending(world.db, stop.scope)
        assert await desk.ledger.record([results[8]]) == []
        assert stop_switch.stops(world.db) == []

    story(world, tell)


def test_a_billing_error_stops_its_own_tenants_numbers_alone(
    world: World,
) -> None:
    world.tenant("other")
    world.number("2001")
    world.number("2002")
    world.number("2003", "other")
    world.deliveries(world.campaign(), 2, route=NUMBER)

    async def tell(desk: Desk) -> None:
        for reason in ("131042 unpaid", "131031 locked"):
            leased = (await desk.claim(limit=1))[0]
            hold = HoldNumber("2001", "stopped", reason, whole_account=True)
            await desk.ledger.record(
                [Result(leased.key, uuid4(), DeliveryState.WAITING, "rejected", effects=(hold,))]
            )
        rows = world.db.execute("SELECT number_id, state, reason FROM sender_numbers ORDER BY 1").fetchall()
        assert rows == [
            ("2001", "stopped", "131042 unpaid"),
            ("2002", "stopped", "131042 unpaid"),
            ("2003", "active", ""),
            (NUMBER, "stopped", "131042 unpaid"),
        ]

    story(world, tell)


def united(world: World, campaign: str) -> tuple[str, str]:
    """Two contacts of one person, each with a delivery of the campaign: which goes first, and the other."""
    first, other = sorted(world.deliveries(campaign, 2))
    world.db.execute(
        "INSERT INTO contact_aliases (tenant_id, alias, contact_id, is_contact, source)"
        " VALUES (%s, %s, %s, true, 'test')",
        [TENANT, other, first],
    )
    return first, other


def test_one_person_under_two_contacts_gets_one_message_and_the_opt_out_of_either_holds(
    world: World,
) -> None:
    campaign, second = world.campaign(), world.campaign()
    first, other = united(world, campaign)
    for contact in (first, other):
        (made,) = world.deliveries(second)
        world.db.execute("UPDATE deliveries SET contact_id = %s WHERE contact_id = %s", [contact, made])

    async def tell(desk: Desk) -> None:
        leased = await desk.claim()
        both = {one.key.contact_id: one for one in leased if one.key.campaign_id == campaign}
        assert await desk.mark(both[other]) == NotMarked("waiting", OTHER_FIRST)
        attempt_id = uuid4()
        assert isinstance(await desk.mark(both[first], attempt_id), Marked)
        (again,) = await claim_after_the_wait(world, desk)
        assert await desk.mark(again) == NotMarked("waiting", OTHER_FIRST)  # the call may fail yet
        sent = Result(both[first].key, attempt_id, DeliveryState.SENT, "sent", provider_message_id="wamid.1")
        await desk.ledger.record([sent])
        (again,) = await claim_after_the_wait(world, desk)
        refused = await desk.mark(again)
        assert isinstance(refused, NotMarked)
        assert refused.state == "suppressed"
        world.db.execute("INSERT INTO suppressions VALUES (%s, %s, 'STOP')", [TENANT, other])
        for one in leased:
            if one.key.campaign_id == second:
                answer = await desk.mark(one)
                assert isinstance(answer, NotMarked)
                assert (answer.state, answer.reason) == ("suppressed", "the contact opted out")

    story(world, tell)


async def claim_after_the_wait(world: World, desk: Desk) -> list[Leased]:
    assert await desk.claim() == []  # not yet due
    waited = timedelta(seconds=OTHER_FIRST_WAIT_S)
    world.db.execute("UPDATE deliveries SET due_at = due_at - %s WHERE state = 'waiting'", [waited])
    return await desk.claim()


def test_a_person_whose_first_delivery_fails_gets_the_message_under_the_other_contact(world: World) -> None:
    """As after a change of number: the old one does not answer any more."""
    first, other = united(world, world.campaign())

    async def tell(desk: Desk) -> None:
        leased = {one.key.contact_id: one for one in await desk.claim()}
        assert await desk.mark(leased[other]) == NotMarked("waiting", OTHER_FIRST)
        attempt_id = uuid4()
        assert isinstance(await desk.mark(leased[first], attempt_id), Marked)
        unreachable = Result(
            leased[first].key, attempt_id, DeliveryState.FAILED, "rejected", "unreachable", code="131026"
        )
        await desk.ledger.record([unreachable])
        (again,) = await claim_after_the_wait(world, desk)
        assert isinstance(await desk.mark(again), Marked)

    story(world, tell)


def test_a_delivery_does_not_wait_for_one_that_is_due_much_later(world: World) -> None:
    """The lower contact id answered later, or is retried after a day: the person gets the message now."""
    first, other = united(world, world.campaign())
    world.db.execute("UPDATE deliveries SET due_at = now() + interval '1 day' WHERE contact_id = %s", [first])

    async def tell(desk: Desk) -> None:
        (leased,) = await desk.claim()
        attempt_id = uuid4()
        assert leased.key.contact_id == other
        assert isinstance(await desk.mark(leased, attempt_id), Marked)
        world.db.execute("UPDATE deliveries SET due_at = now() WHERE contact_id = %s", [first])
        (late,) = await desk.claim()
        assert await desk.mark(late) == NotMarked("waiting", OTHER_FIRST)
        doubt = Result(leased.key, attempt_id, DeliveryState.AMBIGUOUS, "ambiguous", "no answer")
        await desk.ledger.record([doubt])
        (late,) = await claim_after_the_wait(world, desk)
        refused = await desk.mark(late)
        assert isinstance(refused, NotMarked)
        assert refused.state == "suppressed"

    story(world, tell)


def test_a_new_call_has_no_message_id_of_an_earlier_one(world: World) -> None:
    world.deliveries(world.campaign(), provider_message_id="wamid.1")

    async def tell(desk: Desk) -> None:
        (leased,) = await desk.claim()
        attempt_id = uuid4()
        await desk.mark(leased, attempt_id)
        second = Result(leased.key, attempt_id, DeliveryState.SENT, "sent", provider_message_id="wamid.2")
        await desk.ledger.record([second])
        assert world.db.execute("SELECT provider_message_id FROM deliveries").fetchall() == [("wamid.2",)]

    story(world, tell)


def test_the_answer_teaches_another_id_of_the_recipient_and_a_wrong_key_nothing(world: World) -> None:
    campaign = world.campaign()
    (made,) = world.deliveries(campaign)
    phone, user = "+5547989211984", "BR.1234"
    person = contact_id(KEY, TENANT, phone)
    world.db.execute("UPDATE deliveries SET contact_id = %s WHERE contact_id = %s", [person, made])

    async def tell(desk: Desk) -> None:
        (leased,) = await desk.claim()
        attempt_id = uuid4()
        await desk.mark(leased, attempt_id)
        stranger = LearnRecipient(TENANT, "f" * 32, phone, (user, "5511987654321"))
        usual = LearnRecipient(TENANT, person, phone, ("554789211984",))
        await desk.ledger.record(
            [Result(leased.key, attempt_id, DeliveryState.SENT, "sent", effects=(stranger, usual))]
        )
        assert world.db.execute("SELECT 1 FROM contact_aliases").fetchall() == []
        learned = LearnRecipient(TENANT, person, phone, ("554789211984", user))
        again = Result(leased.key, attempt_id, DeliveryState.SENT, "sent", effects=(learned,))
        await desk.ledger.record([again, again])
        assert world.db.execute("SELECT alias, contact_id, is_contact FROM contact_aliases").fetchall() == [
            (alias_id(KEY, TENANT, user), person, False)
        ]

    story(world, tell)


def test_a_result_locks_the_delivery_before_it_teaches_and_suppresses(world: World) -> None:
    """As a status of the same message does: each would wait for the other."""
    (made,) = world.deliveries(world.campaign())
    person = contact_id(KEY, TENANT, "+5547989211984")
    world.db.execute("UPDATE deliveries SET contact_id = %s WHERE contact_id = %s", [person, made])
    learned = LearnRecipient(TENANT, person, "+5547989211984", ("BR.1234",))
    effects = (learned, SuppressContact(TENANT, person, "131050"))

    async def tell(desk: Desk) -> None:
        (leased,) = await desk.claim()
        attempt_id = uuid4()
        await desk.mark(leased, attempt_id)
        result = Result(leased.key, attempt_id, DeliveryState.SENT, "sent", effects=effects)
        with world.db.transaction():
            world.db.execute("SELECT FROM deliveries WHERE contact_id = %s FOR UPDATE", [person])
            recording = asyncio.create_task(desk.ledger.record([result]))
            for _ in range(6_000):
                if world.db.execute("SELECT FROM pg_locks WHERE NOT granted").fetchone() is not None:
                    break
                await asyncio.sleep(0.01)
            world.db.execute("SET LOCAL lock_timeout = '1s'")
            world.db.execute(
                "INSERT INTO contact_aliases (tenant_id, alias, contact_id, is_contact, source)"
                " VALUES (%s, %s, %s, false, 'status')",
                [TENANT, alias_id(KEY, TENANT, "BR.1234"), person],
            )
            world.db.execute(
                "INSERT INTO suppressions (tenant_id, contact_id, reason) VALUES (%s, %s, '')",
                [TENANT, person],
            )
        await recording

    story(world, tell)


def test_after_a_rejected_text_attempts_have_the_fallbacks_until_a_redrive(
    world: World,
) -> None:
    """Also where the next sender never calls: the mark is in the row, not in a process."""
    (contact,) = world.deliveries(world.campaign(), 1)

    async def tell(desk: Desk) -> None:
        (leased,) = await desk.claim()
        assert not leased.with_fallbacks
        attempt_id = uuid4()
        assert isinstance(await desk.mark(leased, attempt_id), Marked)
        result = Result(
            *(leased.key, attempt_id, DeliveryState.WAITING, "rejected", "131009 not valid"),
            due_in_s=0.0,
            with_fallbacks=True,
        )
        assert await desk.ledger.record([result]) == []
        assert await desk.ledger.record([result]) == []  # the answer to the first commit was lost
        assert world.state(contact) == ("waiting", "131009 not valid")

        (again,) = await desk.claim(lease_s=0.0)
        assert (again.with_fallbacks, again.attempts) == (True, 1)
        await desk.ledger.reclaim()
        (again,) = await desk.claim()
        assert again.with_fallbacks
        attempt_id = uuid4()
        assert isinstance(await desk.mark(again, attempt_id), Marked)
        await desk.ledger.record([rejected(again, attempt_id)])
        assert world.state(contact) == ("failed", "not valid")

        chosen = Chosen(campaign_id=again.key.campaign_id)
        report = redrive_many(world.db, "me", chosen, "the template was mended")
        assert report.redriven == 1
        (redriven,) = await desk.claim()
        assert (redriven.with_fallbacks, redriven.attempts) == (False, 0)

    story(world, tell)
