"""A person who says STOP on any channel gets nothing more on any: from mails to the mark of the next call."""

from __future__ import annotations

from collections.abc import Iterator
from email import message_from_string
from email.policy import default
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec
import psycopg
import pytest

from ops.simulated_instances import SMTP_SECRET, smtp_credential
from pipeline.runtime.record import Record
from pipeline.runtime.settings import DEVELOPMENT_ACCESS_TOKEN, DEVELOPMENT_CONTACT_KEY
from schemas.ids import contact_id, delivery_id
from schemas.records import Match, Message, Personal
from sinks.delivery.webhooks.statuses import ProviderStatuses
from sinks.messaging.email.webhook import SOURCE as SMTP
from sinks.messaging.sms.webhook import SOURCE as TWILIO
from sinks.postgres.sink import Arrival
from sinks.postgres.tables.deliveries import Deliveries
from sinks.webhook import Secrets, Webhook, WebhookRequest
from tests.support.samples import match
from tests.support.sender_world import MONTH, TENANT, World

KEY = DEVELOPMENT_CONTACT_KEY.encode()
ANA, ANAS_OTHER_PHONE, BIA = "+5511987650001", "+5511987650002", "+5511987650003"
EMAILS = {ANA: "Ana@person.example", ANAS_OTHER_PHONE: "ana@person.example", BIA: "bia@person.example"}
HELLO = Message("text", text="Olá!", subject="Seu resultado")
PHONE_OF_SMS = "551150010009"


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> Iterator[World]:
    with World(database_url, tmp_path) as made:
        yield made


def due(world: World, *phones: str) -> str:
    """A campaign that owes a message to each of these people."""
    campaign = world.campaign(HELLO, channel="email")
    day = (MONTH - MONTH.replace(1970, 1, 1)).days
    events: list[Match] = []
    for n, phone in enumerate(phones):
        contact = contact_id(KEY, TENANT, phone)
        event = match(n, campaign, tenant_id=TENANT, contact_id=contact, campaign_month=day, day=day)
        personal = Personal(phone=phone, email=EMAILS[phone])
        found = delivery_id(campaign, contact)
        events.append(msgspec.structs.replace(event, delivery_id=found, personal=personal))
    sink = Deliveries()
    with psycopg.connect(world.database_url, autocommit=True) as connection:
        sink.prepare(connection)
        with connection.transaction():
            records = [Record("test", 0, n, 0, None, None) for n in range(len(events))]
            sink.write(connection, [Arrival(*each) for each in zip(records, events, strict=True)])
    return campaign


def ends(world: World, campaign: str) -> dict[str, tuple[str, str]]:
    """State and reason by phone, once each delivery of the campaign has ended."""
    query = (
        "SELECT p.phone, d.state, d.reason FROM deliveries AS d"
        " JOIN contacts AS p USING (tenant_id, contact_id) WHERE d.campaign_id = %s"
    )
    open_states = {"waiting", "leased", "calling"}
    world.wait_until(lambda: not {s for _, s, _ in world.db.execute(query, [campaign])} & open_states)
    return {phone: (state, reason) for phone, state, reason in world.db.execute(query, [campaign])}


def take(world: World, webhook: Webhook) -> None:
    """As the sink of webhooks does."""
    with psycopg.connect(world.database_url, autocommit=True) as connection, connection.transaction():
        ProviderStatuses(KEY).write(connection, [Arrival(Record("test", 0, 0, 0, None, None), webhook)])


def unsubscribe(world: World, to: str, but: str = "") -> None:
    """One click in the mail program of the recipient, on the mail that is not `but`."""
    mails = [message_from_string(one["request"], policy=default) for one in world.command("GET", "messages")]
    (mail,) = [mail for mail in mails if mail["To"] == to and mail["Message-ID"] != f"<{but}>"]
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    query = dict(parse_qsl(urlsplit(str(mail["List-Unsubscribe"]).strip("<>")).query))
    request = WebhookRequest({}, query, b"List-Unsubscribe=One-Click")
    assert SMTP.is_genuine(request, Secrets(b"secret", ""))
    take(world, SMTP.parse(SMTP.stored(request), 1_800_000_000_000))


def test_stop_by_mail_and_by_sms_hold_on_every_channel(world: World) -> None:
    sender = world.number(
        "news@acme.example",
        provider="smtp",
        base_url=world.simulator_smtp_url,
        credential="ACME_SMTP",
        channel="email",
    )
    world.number(PHONE_OF_SMS, provider="twilio", credential="NOT_HERE", channel="sms")
    world.simulator()
    world.rule("half", taken=True, to="ana@person.example", count=1)
    env = {"ACME_SMTP": smtp_credential(DEVELOPMENT_ACCESS_TOKEN), SMTP_SECRET: "secret"}
    world.sender(env=env)
    first = due(world, ANA)
    assert ends(world, first)[ANA][0] == "ambiguous"
    unsubscribe(world, "ana@person.example")
    assert ends(world, first)[ANA][0] == "read"  # that she unsubscribes proves that it arrived

    second = ends(world, due(world, ANA, ANAS_OTHER_PHONE, BIA))
    assert second[ANA] == ("suppressed", "the contact opted out")
    assert second[ANAS_OTHER_PHONE] == ("suppressed", "the e-mail address opted out")
    assert second[BIA][0] == "sent"

    stop = {
        "MessageSid": "SM1",
        "SmsStatus": "received",
        "From": BIA,
        "To": f"+{PHONE_OF_SMS}",
        "Body": "Parar",
    }
    take(world, TWILIO.parse(urlencode(stop).encode(), 1_800_000_000_000))
    third = ends(world, due(world, ANA, BIA))
    assert {state for state, _ in third.values()} == {"suppressed"}
    recipients = [call["to"] for call in world.calls() if call["wamid"] is not None]
    assert sorted(recipients) == ["ana@person.example", "bia@person.example"]
    assert {call["number"] for call in world.calls()} == {sender}


def test_an_address_that_opted_out_gets_nothing_under_another_phone(world: World) -> None:
    """Two contacts state one address, and both have had mail there: the opt-out of either is of both."""
    world.number(
        "news@acme.example",
        provider="smtp",
        base_url=world.simulator_smtp_url,
        credential="ACME_SMTP",
        channel="email",
    )
    world.simulator()
    world.sender(env={"ACME_SMTP": smtp_credential(DEVELOPMENT_ACCESS_TOKEN), SMTP_SECRET: "secret"})
    assert ends(world, due(world, ANA))[ANA][0] == "sent"
    first = world.calls()[0]["wamid"]
    assert ends(world, due(world, ANAS_OTHER_PHONE))[ANAS_OTHER_PHONE][0] == "sent"
    unsubscribe(world, "ana@person.example", but=first)
    found = ends(world, due(world, ANA, ANAS_OTHER_PHONE, BIA))
    assert {found[phone] for phone in (ANA, ANAS_OTHER_PHONE)} == {("suppressed", "the contact opted out")}
    assert found[BIA][0] == "sent"
    assert world.taken_by_recipient() == {"ana@person.example": 2, "bia@person.example": 1}
