from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest

from schemas.codec import codec
from schemas.records import ProviderWebhook
from sinks.whatsapp.meta_cloud.webhook import SOURCE
from tests.support.edge import Edge, records_of

STATUS = (
    b'{"object":"whatsapp_business_account","entry":[{"id":"1029","changes":[{"field":"messages","value":'
    b'{"metadata":{"phone_number_id":"5511"},"statuses":[{"id":"wamid.1","status":"sent"}]}}]}]}'
)


def received(edge: Edge) -> list[tuple[bytes, ProviderWebhook]]:
    return [
        (key, codec("provider_webhook").decode(value))
        for key, value in records_of(edge.settings, edge.topology.topic("provider_webhooks"))
    ]


def test_a_signed_webhook_is_in_the_topic_byte_for_byte(edge: Edge) -> None:
    body = b" " + STATUS
    assert edge.webhook(body).status == 200
    found = [(key, webhook) for key, webhook in received(edge) if webhook.personal.body == body]
    assert [(key, webhook.provider, webhook.account) for key, webhook in found] == [
        (b"5511", "meta-cloud", "5511")
    ]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"entry":7}', b"\xff\x00", b"[" * 100_000])
def test_what_is_signed_is_kept_even_if_nobody_can_read_it(edge: Edge, body: bytes) -> None:
    assert edge.webhook(body).status == 200
    assert b"unknown" in [key for key, webhook in received(edge) if webhook.personal.body == body]


def test_a_webhook_as_large_as_it_may_be_fits_into_the_topic(edge: Edge) -> None:
    limit = edge.topology.edge.webhook_bytes_max
    assert edge.webhook(b"x" * limit).status == 200
    assert edge.webhook(b"x" * (limit + 1)).problem == "body-too-large"


@pytest.mark.parametrize("signature", ["sha256=" + "0" * 64, "sha256=", "nonsense", "sha256=é"])
def test_a_webhook_with_another_signature_leaves_nothing(edge: Edge, signature: str) -> None:
    before = len(received(edge))
    assert edge.webhook(STATUS, signature).problem == "invalid-signature"
    assert edge.ask("POST", "/webhooks/meta-cloud", STATUS).problem == "invalid-signature"
    assert len(received(edge)) == before


def test_the_address_of_before_leads_to_the_same_provider(edge: Edge) -> None:
    body = STATUS + b"\n"
    assert edge.webhook(body, path="/webhooks/whatsapp").status == 200
    assert [webhook.provider for _, webhook in received(edge) if webhook.personal.body == body] == [
        "meta-cloud"
    ]
    assert edge.webhook(body, path="/webhooks/whatsapp", signature="sha256=no").problem == "invalid-signature"


def test_a_provider_that_is_not_registered_has_no_route(edge: Edge) -> None:
    assert edge.webhook(STATUS, path="/webhooks/carrier-pigeon").problem == "not-found"


@pytest.mark.parametrize("name", ["meta-cloud", "whatsapp"])
def test_the_handshake_echoes_the_challenge_to_who_knows_the_token(edge: Edge, name: str) -> None:
    asked = {"hub.mode": "subscribe", "hub.challenge": "1158201444"}
    token = {"hub.verify_token": edge.settings.webhook_verify_token}
    answer = edge.ask("GET", f"/webhooks/{name}?{urlencode(asked | token)}")
    assert (answer.status, answer.body) == (200, b"1158201444")
    for wrong in (asked, asked | {"hub.verify_token": "é"}, token, asked | token | {"hub.mode": "other"}):
        assert edge.ask("GET", f"/webhooks/{name}?{urlencode(wrong)}").problem == "handshake-refused"


@pytest.mark.parametrize(
    ("entry", "account"),
    [
        ({"id": "1029", "changes": [{"value": {"metadata": {"phone_number_id": "5511"}}}]}, "5511"),
        ({"id": "1029", "changes": [{"value": {"metadata": {}}}]}, "1029"),
        ({"id": "1029"}, "1029"),
        ({"id": 1029, "changes": [{"value": {"metadata": {"phone_number_id": 5511}}}]}, None),
        ({"id": "x" * 65}, None),
        ({"id": "a|b"}, None),
        ([], None),
    ],
)
def test_the_account_is_the_number_else_the_business_account(entry: object, account: str | None) -> None:
    assert SOURCE.account_of(json.dumps({"entry": [entry]}).encode()) == account
