"""One message, ever, with every provider: judged by the provider's own record."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from hashlib import md5
from uuid import uuid4

import msgspec
import psycopg
import pytest

from pipeline.runtime.record import Record
from schemas.ids import delivery_id
from schemas.records import Match, Personal
from sinks import providers
from sinks.postgres.sink import Arrival
from sinks.postgres.tables.deliveries import Deliveries
from tests.support.provider_cases import Case, case_of
from tests.support.samples import match
from tests.support.sender_world import HELLO, MONTH, TENANT, World, email_of

NUMBERS = [f"55110000010{position}" for position in range(10)]


@pytest.fixture(params=providers.names())
def case(request: pytest.FixtureRequest) -> Case:
    return case_of(request.param)


def taken(world: World) -> list[str]:
    """The recipients of every message that the provider put on its way."""
    return [call["to"] for call in world.calls() if call["wamid"] is not None]


def matches(world: World, campaign: str, count: int) -> list[Match]:
    day = (MONTH - MONTH.replace(1970, 1, 1)).days
    contacts = [uuid4().hex for _ in range(count)]
    return [
        msgspec.structs.replace(
            match(n, campaign, tenant_id=TENANT, contact_id=contact, campaign_month=day, day=day),
            delivery_id=delivery_id(campaign, contact),
            personal=Personal(phone=(phone := f"+551198765{n:04d}"), email=email_of(phone)),
        )
        for n, contact in enumerate(contacts)
    ]


def write(world: World, events: list[Match]) -> None:
    sink = Deliveries()
    with psycopg.connect(world.database_url, autocommit=True) as connection:
        sink.prepare(connection)
        with connection.transaction():
            sink.write(
                connection,
                [Arrival(Record("test", 0, n, 0, None, None), event) for n, event in enumerate(events)],
            )


def test_the_same_job_three_times_at_once_is_one_message_each(world: World, case: Case) -> None:
    case.number(world, NUMBERS[0])
    world.simulator()
    world.sender(env=case.env | case.shared)
    events = matches(world, world.campaign(case.message, channel=case.channel), 20)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: write(world, events), range(3)))
    world.wait_for(sent=20)
    write(world, events)
    world.wait_for(sent=20)
    phones = [event.personal.phone for event in events]
    assert sorted(taken(world)) == sorted(case.address(phone.removeprefix("+")) for phone in phones if phone)
    assert {call["provider"] for call in world.calls()} == {case.provider}


def test_ten_senders_at_once_send_each_delivery_once(world: World, case: Case) -> None:
    numbers = {case.number(world, number, messages_per_s=2) for number in NUMBERS}
    world.simulator()
    for name, value in dict(case.env).items():
        world.sender(env={name: value} | case.shared, claim_batch_max=5)
    world.wait_until(lambda: world.leased_numbers() == numbers)
    # The same in every run: of 60 people by chance, one number may get none.
    people = [md5(f"4 {place}".encode()).hexdigest() for place in range(60)]
    campaign = world.campaign(case.message, channel=case.channel)
    contacts = world.deliveries(campaign, contacts=people)
    world.wait_for(sent=60)
    assert sorted(taken(world)) == sorted(case.address(world.phone(contact)) for contact in contacts)
    assert len({call["number"] for call in world.calls()}) == len(NUMBERS)


@pytest.mark.parametrize("lost", ["reset", "half", "garbage"])
def test_an_answer_lost_after_success_is_one_message(world: World, case: Case, lost: str) -> None:
    """Found by the provider's query, or ambiguous: in no case is it called again."""
    case.number(world, NUMBERS[0])
    contacts = world.deliveries(world.campaign(case.message, channel=case.channel), 12)
    world.simulator()
    world.rule(lost, taken=True, every=3, **({"status": 502} if lost == "garbage" else {}))
    world.sender(env=case.env | case.shared)
    if providers.provider_named(case.provider).can_find:
        world.wait_for(sent=12)
    else:
        world.wait_for(sent=8, ambiguous=4)
    world.wait_for(**world.states())
    assert sorted(taken(world)) == sorted(case.address(world.phone(contact)) for contact in contacts)
    assert len(world.calls()) == 12


def test_a_rejection_is_called_again_and_a_throttle_pauses_the_number(world: World, case: Case) -> None:
    case.number(world, NUMBERS[0])
    contacts = world.deliveries(world.campaign(case.message, channel=case.channel), 5)
    world.simulator()
    world.rule("error", code=130429, status=429, count=1)
    world.sender(env=case.env | case.shared)
    world.wait_for(sent=5)
    assert sorted(taken(world)) == sorted(case.address(world.phone(contact)) for contact in contacts)
    (throttled,) = [call for call in world.calls() if call["wamid"] is None]
    assert throttled["status"] == case.throttled
    actions = world.db.execute("SELECT action FROM delivery_attempts WHERE outcome = 'rejected'").fetchall()
    assert actions == [(case.throttle,)]


def test_a_token_that_the_provider_rejects_holds_the_number_and_nothing_fails(
    world: World, case: Case
) -> None:
    number = case.number(world, NUMBERS[0])
    world.deliveries(world.campaign(case.message, channel=case.channel), 3)
    world.simulator()
    name = next(iter(case.env))
    process = world.sender(env={name: case.wrong} | case.shared)
    held = "SELECT state FROM sender_numbers WHERE number_id = %s"
    world.wait_until(lambda: world.db.execute(held, [number]).fetchone() == ("paused",))
    world.wait_for(waiting=3)
    assert taken(world) == []
    process.kill()
    process.wait()
    logs = "".join(file.read_text() for file in world.home.parent.glob("*.log"))
    assert "a-token-of-no-account" not in logs


def test_a_kind_that_a_provider_lacks_stops_the_campaign_and_fails_nothing(world: World) -> None:
    case = case_of("uazapi")  # has no templates
    case.number(world, NUMBERS[0])
    campaign = world.campaign(HELLO)
    world.deliveries(campaign, 3)
    world.simulator()
    world.sender(env=case.env | case.shared)
    stopped = "SELECT reason FROM sending_stops WHERE scope = %s"
    world.wait_until(lambda: world.db.execute(stopped, [f"campaign:{campaign}"]).fetchone() is not None)
    world.wait_for(waiting=3)
    assert world.calls() == []
    assert world.db.execute(stopped, [f"campaign:{campaign}"]).fetchone() == (
        "the provider takes no message of kind template",
    )
