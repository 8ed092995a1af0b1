"""Each session number has a webhook address and a key of its own: on a running edge, with real brokers."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from prometheus_client import REGISTRY

from schemas.codec import codec
from schemas.records import ProviderWebhook, WebhookKey
from sinks.postgres.catalogue.webhook_keys import key_hash
from tests.support.edge import Answer, Edge, records_of, wait_until
from tests.support.producer import make_producer

OURS, THEIRS = "558185464605", "551100000001"


def publish(edge: Edge, *keys: WebhookKey) -> None:
    producer = make_producer(edge.settings.kafka_bootstrap_servers)
    for key in keys:
        producer.produce(
            edge.topology.topic("webhook_keys").name, codec("webhook_key").encode(key), key.number_id
        )
    assert producer.flush(30) == 0


def post(edge: Edge, number: str, key: str, told: Any, provider: str = "uazapi") -> Answer:
    body = told if isinstance(told, bytes) else json.dumps(told).encode()
    return edge.ask("POST", f"/webhooks/{provider}/{number}?key={key}", body)


def about(number: str) -> dict[str, Any]:
    return {"EventType": "connection", "owner": number, "instance": {"status": "disconnected"}}


def received(edge: Edge) -> list[ProviderWebhook]:
    topic = edge.topology.topic("provider_webhooks")
    return [codec("provider_webhook").decode(value) for _, value in records_of(edge.settings, topic)]


def refused(reason: str, provider: str = "uazapi") -> float:
    labels = {"provider": provider, "reason": reason}
    return REGISTRY.get_sample_value("quizstream_webhooks_refused_total", labels) or 0.0


@pytest.fixture
def keyed(edge: Edge) -> Edge:
    publish(
        edge,
        WebhookKey(OURS, "uazapi", 1, key_hash("our-key")),
        WebhookKey(THEIRS, "uazapi", 1, key_hash("their-key")),
        WebhookKey("shop", "evolution", 1, key_hash("shops-key")),
    )
    wait_until(
        lambda: post(edge, "shop", "shops-key", {"event": "x"}, "evolution").status == 200, "the keys to come"
    )
    return edge


def test_a_body_of_the_number_itself_is_in_the_topic_under_it(keyed: Edge) -> None:
    told = about(OURS) | {"token": "t-o-k-e-n"}
    assert post(keyed, OURS, "our-key", told).status == 200
    assert post(keyed, OURS, "our-key", {"EventType": "messages"}).status == 200  # it states no number
    found = [one for one in received(keyed) if one.account == OURS]
    assert {one.provider for one in found} == {"uazapi"}
    assert not any(b"t-o-k-e-n" in one.personal.body for one in found)


@pytest.mark.parametrize(
    "told",
    [
        about(THEIRS),
        {"EventType": "messages", "owner": OURS, "message": {"owner": THEIRS}},
        # Not JSON as it comes, but as it would be stored: the value of `token` is removed.
        f'{{"EventType":"connection","owner":"{THEIRS}","token":"\\q"}}'.encode(),
    ],
    ids=["owner", "message", "escape"],
)
def test_a_body_about_another_tenants_number_is_refused_and_leaves_nothing(keyed: Edge, told: Any) -> None:
    before, counted = len(received(keyed)), refused("number")
    assert post(keyed, OURS, "our-key", told).problem == "wrong-number"
    assert refused("number") == counted + 1
    assert len(received(keyed)) == before


def test_another_numbers_key_is_refused_and_leaves_nothing(keyed: Edge) -> None:
    before, counted = len(received(keyed)), refused("key")
    assert post(keyed, THEIRS, "our-key", about(THEIRS)).problem == "invalid-signature"
    assert post(keyed, OURS, "our-key", about(OURS), "evolution").problem == "invalid-signature"
    assert post(keyed, "shop", "our-key", {"event": "x"}, "evolution").problem == "invalid-signature"
    assert refused("key") == counted + 1
    assert len(received(keyed)) == before


def test_an_unknown_number_is_answered_as_a_wrong_key_is(keyed: Edge) -> None:
    wrong, unknown = post(keyed, OURS, "no", about(OURS)), post(keyed, "559", "no", about("559"))
    assert (wrong.status, wrong.body) == (unknown.status, unknown.body)
    assert wrong.headers.keys() == unknown.headers.keys()
    assert keyed.ask("POST", f"/webhooks/uazapi/{OURS}", b"{}").problem == "invalid-signature"
    assert keyed.ask("POST", "/webhooks/uazapi?key=our-key", b"{}").problem == "not-found"
    assert keyed.ask("GET", f"/webhooks/uazapi/{OURS}?key=our-key").problem == "handshake-refused"


def test_a_rotation_is_in_force_without_a_restart(keyed: Edge) -> None:
    far = int(time.time() * 1000) + 3_600_000
    publish(keyed, WebhookKey(OURS, "uazapi", 2, key_hash("second"), key_hash("our-key"), far))
    wait_until(lambda: post(keyed, OURS, "second", about(OURS)).status == 200, "the new key")
    assert post(keyed, OURS, "our-key", about(OURS)).status == 200, "the overlap"

    publish(keyed, WebhookKey(OURS, "uazapi", 3, key_hash("third")))
    wait_until(lambda: post(keyed, OURS, "third", about(OURS)).status == 200, "the third key")
    for former in ("our-key", "second"):
        assert post(keyed, OURS, former, about(OURS)).problem == "invalid-signature"
