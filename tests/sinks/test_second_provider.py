"""A second provider, registered and nothing else: from the ledger over a call and a webhook to a status."""

from __future__ import annotations

import hashlib
import hmac
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.embedded.stack import ServerUrls
from schemas.records import Message, Variable
from sinks import providers
from sinks.delivery.webhooks.statuses import ProviderStatuses, WebhookDecoder
from tests.support.edge import prepare, running, settings_for, wait_ready
from tests.support.parrot import fake
from tests.support.parrot.fake import FakeParrot
from tests.support.sender_world import World
from tests.support.sinks import Corner, until

SECRET = "the-secret-of-the-address"


@pytest.fixture
def parrot(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeParrot]:
    """The provider, registered for this test only, and its server."""
    monkeypatch.setattr(providers, "_PACKAGES", dict(providers._PACKAGES))
    providers.register("parrot", "tests.support.parrot")
    with fake.running() as one:
        yield one


@pytest.fixture
def world(database_url: str, tmp_path: Path, parrot: FakeParrot) -> Iterator[World]:
    with World(database_url, tmp_path) as made:
        made.number("cage-7", provider="parrot", base_url=parrot.url, credential="PARROT_TOKEN")
        yield made


def send(world: World) -> None:
    world.sender(env={"PARROT_TOKEN": fake.TOKEN}, module="tests.support.parrot.sender")


def test_from_the_ledger_over_a_call_and_a_webhook_to_a_status(
    world: World,
    parrot: FakeParrot,
    stack: ServerUrls,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (contact,) = world.deliveries(world.campaign(Message(kind="text", text="hello")))
    send(world)
    world.wait_for(sent=1)
    ((attempt_id, message_id),) = parrot.taken.items()
    assert parrot.calls[0]["to"].removeprefix("+") == world.phone(contact)

    monkeypatch.setenv("PARROT_WEBHOOK_SECRET", SECRET)
    settings = settings_for(stack.kafka_bootstrap, namespace)
    topology = prepare(settings)
    with running(settings, topology) as edge:
        wait_ready(edge)
        # The other provider reports a message of this very id and attempt: not this delivery.
        status = {"id": message_id, "status": "read", "biz_opaque_callback_data": attempt_id}
        change = {"value": {"metadata": {"phone_number_id": "5511"}, "statuses": [status]}}
        of_meta = json.dumps({"entry": [{"id": "1", "changes": [change]}]}).encode()
        signature = "sha256=" + hmac.new(settings.webhook_secret, of_meta, hashlib.sha256).hexdigest()
        assert edge.webhook(of_meta, signature).status == 200
        heard = json.dumps({"cage": "cage7", "id": message_id, "state": "Heard"}).encode()
        assert edge.ask("POST", "/webhooks/parrot?key=wrong", heard).problem == "invalid-signature"
        assert edge.webhook(heard, path="/webhooks/parrot").problem == "invalid-signature"
        assert edge.ask("GET", f"/webhooks/parrot?key={SECRET}").problem == "handshake-refused"
        assert edge.ask("POST", f"/webhooks/parrot?key={SECRET}", heard).status == 200

    corner = Corner(stack.kafka_bootstrap, world.database_url, topology)
    try:
        with corner.running(ProviderStatuses(b"key"), decoder=WebhookDecoder()):
            both = "SELECT count(*) = 2 FROM provider_statuses"
            until(lambda: corner.rows(both) == [(True,)], "both statuses to come")
    finally:
        corner.close()

    assert world.states() == {"delivered": 1}
    assert world.db.execute(
        "SELECT provider, status, merged FROM provider_statuses ORDER BY provider"
    ).fetchall() == [("meta-cloud", "read", False), ("parrot", "delivered", True)]


def test_a_value_that_is_too_long_for_this_provider_gives_way_to_its_fallback(
    world: World, parrot: FakeParrot
) -> None:
    message = Message("text", text="{why}!", variables=[Variable("why", "answers.why", fallback="polly")])
    world.deliveries(world.campaign(message), variables=json.dumps({"why": "x" * 40}))

    send(world)

    world.wait_for(sent=1)
    assert [call["text"] for call in parrot.calls] == ["polly!"]


def test_refusals_limits_and_a_query_end_as_the_provider_means_them(world: World, parrot: FakeParrot) -> None:
    ends = {
        "hello": ("sent", None, None),
        "!hates-crackers": ("failed", "hates-crackers", "fail_recipient"),
        "!molting": ("failed", "molting", "fail_recipient"),  # in no list: refused all the same
        "hang": ("sent", None, None),  # no answer in time, and found by the query
        "a text that is longer than a parrot can repeat": ("failed", None, "fail_recipient"),
    }
    contacts = {text: world.deliveries(world.campaign(Message(kind="text", text=text)))[0] for text in ends}

    send(world)

    world.wait_for(sent=2, failed=3)
    for text, (state, code, action) in ends.items():
        assert world.state(contacts[text])[0] == state, text
        kept = world.db.execute(
            "SELECT a.provider, a.provider_code, a.action FROM delivery_attempts AS a"
            " JOIN deliveries AS d USING (delivery_id) WHERE d.contact_id = %s",
            [contacts[text]],
        ).fetchall()
        assert kept == [("parrot", code, action)], text
    assert sorted(call["text"] for call in parrot.calls) == sorted(text for text in ends if len(text) <= 40)
    with urllib.request.urlopen(f"http://127.0.0.1:{world.metrics_port}/metrics", timeout=10) as response:
        shown = response.read().decode()
    assert 'quizstream_sender_unlisted_codes_total{code="molting",provider="parrot"} 1.0' in shown
    assert 'code="hates-crackers",provider="parrot"' not in shown
