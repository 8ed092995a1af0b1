"""Webhooks into the ledger, on a real database."""

from __future__ import annotations

import itertools
import json
import uuid
from typing import Any

import pytest

from schemas.codec import Undecodable, codec
from schemas.ids import contact_id
from schemas.records import ProviderWebhook, WebhookBody
from sinks import providers
from sinks.delivery.people.words import built_in
from sinks.delivery.statements import statement
from sinks.delivery.webhooks.statuses import ProviderStatuses, WebhookDecoder, count_waiting, merge_waiting
from sinks.postgres.tables.deliveries import Deliveries
from sinks.webhook import Webhook
from sinks.whatsapp.meta_cloud.webhook import parse
from tests.support.samples import NOW_MS, match
from tests.support.sinks import Corner

KEY = b"key of this test"
ATTEMPT = str(uuid.UUID(int=77))
SINK = ProviderStatuses(KEY)


def status(
    name: str, attempt: str | None = ATTEMPT, message_id: str = "wamid.1", **more: Any
) -> dict[str, Any]:
    said = {
        "id": message_id,
        "status": name,
        "timestamp": str(NOW_MS // 1000),
        "recipient_id": "554789211984",
    }
    return said | ({"biz_opaque_callback_data": attempt} if attempt else {}) | more


def body(number: str = "1001", **value: Any) -> bytes:
    inner = {"messaging_product": "whatsapp", "metadata": {"phone_number_id": number}} | value
    change = {"field": "messages", "value": inner}
    return json.dumps(
        {"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [change]}]}
    ).encode()


def webhook(*statuses: Any, **value: Any) -> Webhook:
    return parse(body(statuses=list(statuses), **value), NOW_MS)


def delivery(corner: Corner, state: str, provider_message_id: str | None = None) -> None:
    """A delivery of contact 1, with one attempt begun."""
    corner.write(Deliveries(), [match(1)])
    corner.rows(
        "UPDATE deliveries SET state = %s, attempt_id = %s, provider_message_id = %s,"
        " lease_token = gen_random_uuid(), leased_until = now() + interval '1 minute' RETURNING 1",
        state, ATTEMPT, provider_message_id,
    )  # fmt: skip
    corner.rows(
        "INSERT INTO delivery_attempts (attempt_id, delivery_id, number_id, attempt, outcome)"
        " SELECT %s, delivery_id, '1001', 1, %s FROM deliveries RETURNING 1",
        ATTEMPT, "ambiguous" if state == "ambiguous" else None,
    )  # fmt: skip


def state_of(corner: Corner) -> object:
    return corner.rows("SELECT state FROM deliveries")[0][0]


@pytest.mark.parametrize("order", list(itertools.permutations(["sent", "delivered", "read"])))
def test_statuses_in_any_order_end_as_read(corner: Corner, order: tuple[str, ...]) -> None:
    delivery(corner, "sent", "wamid.1")

    for name in order:
        corner.write(SINK, [webhook(status(name)), webhook(status(name))])

    assert state_of(corner) == "read"
    told = corner.told()
    assert [event.sequence for event in told] == list(range(1, len(told) + 1))
    assert told[-1].state == "read"
    assert corner.rows("SELECT count(*), count(*) FILTER (WHERE merged) FROM provider_statuses") == [(3, 3)]


@pytest.mark.parametrize("state", ["calling", "ambiguous", "waiting"])
def test_a_proof_resolves_a_call_of_which_nobody_knows(corner: Corner, state: str) -> None:
    delivery(corner, state)

    corner.write(SINK, [webhook(status("delivered"))])

    assert corner.rows("SELECT state, provider_message_id, lease_token FROM deliveries") == [
        ("delivered", "wamid.1", None)
    ]
    if state == "ambiguous":
        assert corner.rows("SELECT outcome, provider_message_id FROM delivery_attempts") == [
            ("sent", "wamid.1")
        ]


def test_a_status_before_the_callers_own_result_is_kept(corner: Corner) -> None:
    """Without callback data nobody can tell whose it is until the sender has written the message id down."""
    delivery(corner, "calling")
    corner.write(SINK, [webhook(status("delivered", attempt=None))])
    assert (merge_waiting(corner.connection), state_of(corner)) == (0, "calling")

    corner.rows("UPDATE deliveries SET state = 'sent', provider_message_id = 'wamid.1' RETURNING 1")

    assert (merge_waiting(corner.connection), state_of(corner)) == (1, "delivered")
    assert merge_waiting(corner.connection) == 0


@pytest.mark.parametrize("told", ["sent", "delivered", "read"])
def test_the_callers_own_result_does_not_lower_what_a_status_has_told(corner: Corner, told: str) -> None:
    """With the statement that the sender writes its results with."""
    delivery(corner, "calling")
    corner.write(SINK, [webhook(status(told))])
    month, campaign, contact = corner.rows("SELECT campaign_month, campaign_id, contact_id FROM deliveries")[
        0
    ]
    result = {
        "months": [month],
        "campaigns": [campaign],
        "contacts": [contact],
        "attempt_ids": [ATTEMPT],
        "states": ["sent"],
        "reasons": [""],
        "due_in_s": [None],
        "uncounted": [0],
        "message_ids": ["wamid.1"],
        "with_fallbacks": [False],
        "channels": [None],
        "refused": [None],
    }

    corner.connection.execute(statement("record_results"), result)

    assert corner.rows("SELECT state, provider_message_id FROM deliveries") == [(told, "wamid.1")]
    assert merge_waiting(corner.connection) == 0


def test_a_failure_waits_for_the_callers_own_result(corner: Corner) -> None:
    delivery(corner, "calling")
    undeliverable = status("failed", errors=[{"code": 131026, "title": "Message undeliverable"}])

    corner.write(SINK, [webhook(undeliverable)])
    assert state_of(corner) == "calling"
    corner.rows("UPDATE deliveries SET state = 'sent' RETURNING 1")
    merge_waiting(corner.connection)

    assert corner.rows("SELECT state, reason FROM deliveries") == [("failed", "131026 Message undeliverable")]


def test_a_status_of_an_unknown_message_is_stored_and_changes_nothing(corner: Corner) -> None:
    delivery(corner, "sent", "wamid.1")

    report = corner.write(SINK, [webhook(status("read", attempt=None, message_id="wamid.of-somebody-else"))])

    assert (report.rows, state_of(corner)) == (1, "sent")


def test_statuses_of_other_senders_stand_in_nobodys_way(corner: Corner) -> None:
    """More of them than one sweep takes, and all of them older."""
    delivery(corner, "calling")
    strangers = [status("read", attempt=None, message_id=f"wamid.other.{n}") for n in range(600)]
    corner.write(SINK, [webhook(*strangers)])
    corner.write(SINK, [webhook(status("delivered", attempt=None))])
    corner.rows("UPDATE deliveries SET state = 'sent', provider_message_id = 'wamid.1' RETURNING 1")

    assert (merge_waiting(corner.connection), state_of(corner)) == (1, "delivered")
    assert count_waiting(corner.connection) == 600


def test_a_replay_of_the_webhooks_changes_nothing(corner: Corner) -> None:
    delivery(corner, "sent", "wamid.1")
    batch = [webhook(status("sent")), webhook(status("delivered"))]
    corner.write(SINK, batch)
    before = (
        corner.rows("SELECT * FROM deliveries"),
        corner.rows("SELECT * FROM provider_statuses ORDER BY status"),
    )

    report = corner.write(SINK, [*batch, *batch])

    assert report.rows == 0
    assert (
        corner.rows("SELECT * FROM deliveries"),
        corner.rows("SELECT * FROM provider_statuses ORDER BY status"),
    ) == before


@pytest.mark.parametrize("with_attempt", [True, False])
def test_a_status_of_one_provider_never_matches_a_delivery_sent_by_another(
    corner: Corner, with_attempt: bool
) -> None:
    """Message ids are unique within a provider only, and anybody can repeat callback data."""
    delivery(corner, "sent", "wamid.1")
    corner.rows("UPDATE delivery_attempts SET provider = 'pigeon' RETURNING 1")

    corner.write(SINK, [webhook(status("read", attempt=ATTEMPT if with_attempt else None))])

    assert (state_of(corner), merge_waiting(corner.connection)) == ("sent", 0)
    corner.rows("UPDATE delivery_attempts SET provider = 'meta-cloud' RETURNING 1")
    assert (merge_waiting(corner.connection), state_of(corner)) == (1, "read")


def test_an_attempt_and_a_status_under_names_of_before_still_match(corner: Corner) -> None:
    """Attempts of before had no provider, and statuses were filed under `whatsapp`."""
    delivery(corner, "sent", "wamid.1")
    corner.rows(
        "INSERT INTO provider_statuses (provider, provider_message_id, status, at, errors)"
        " VALUES ('whatsapp', 'wamid.1', 'failed', now(), %s) RETURNING 1",
        json.dumps([{"code": 131050, "title": "Opted out"}]),
    )

    assert (merge_waiting(corner.connection), state_of(corner)) == (1, "failed")
    assert corner.rows("SELECT contact_id FROM suppressions") == [(match(1).contact_id,)]


def test_a_status_that_is_stored_under_the_name_of_before_is_not_stored_again(corner: Corner) -> None:
    delivery(corner, "sent", "wamid.1")
    corner.write(SINK, [webhook(status("read"))])
    corner.rows("UPDATE provider_statuses SET provider = 'whatsapp' RETURNING 1")

    report = corner.write(SINK, [webhook(status("read"))])

    assert report.rows == 0
    assert corner.rows("SELECT provider, merged FROM provider_statuses") == [("whatsapp", True)]


def test_a_record_of_before_is_read_under_the_name_of_today() -> None:
    content = body(statuses=[status("read")])
    for name in ("whatsapp", "meta-cloud"):
        record = codec("provider_webhook").encode(ProviderWebhook(name, "1", NOW_MS, WebhookBody(content)))
        assert WebhookDecoder().decode(record).provider == "meta-cloud"


def test_a_record_of_a_provider_that_is_not_registered_is_undecodable() -> None:
    record = codec("provider_webhook").encode(ProviderWebhook("pigeon", "1", NOW_MS, WebhookBody(b"{}")))

    with pytest.raises(Undecodable, match="no provider is registered under the name 'pigeon'"):
        WebhookDecoder().decode(record)


def test_the_ledger_and_the_registry_agree_on_names_of_before(corner: Corner) -> None:
    for before, now in providers.FORMER_NAMES.items():
        assert corner.rows("SELECT provider_name(%s), former_provider_name(%s)", before, now) == [
            (now, before)
        ]
    for name in providers.names():
        assert corner.rows("SELECT provider_name(%s)", name) == [(name,)]
    assert corner.rows("SELECT provider_name(NULL)") == [("meta-cloud",)]


def test_a_reply_to_a_message_of_another_provider_suppresses_nobody(corner: Corner) -> None:
    delivery(corner, "sent", "wamid.1")
    said = {"from": "0", "id": "in.1", "type": "text", "text": {"body": "stop"}, "context": {"id": "wamid.1"}}
    corner.rows("UPDATE delivery_attempts SET provider = 'pigeon' RETURNING 1")
    corner.write(SINK, [webhook(messages=[said])])
    assert corner.rows("SELECT count(*) FROM suppressions") == [(0,)]

    corner.rows("UPDATE delivery_attempts SET provider = 'meta-cloud' RETURNING 1")
    corner.write(SINK, [webhook(messages=[said])])
    assert corner.rows("SELECT contact_id FROM suppressions") == [(match(1).contact_id,)]


def test_who_opted_out_at_the_provider_is_suppressed(corner: Corner) -> None:
    delivery(corner, "sent", "wamid.1")

    corner.write(SINK, [webhook(status("failed", errors=[{"code": "131050", "title": "Opted out"}]))])

    assert corner.rows("SELECT tenant_id, contact_id FROM suppressions") == [("demo", match(1).contact_id)]


@pytest.mark.parametrize("state", ["sent", "failed", "read"])
@pytest.mark.parametrize("earlier", [True, False])
def test_an_opt_out_counts_though_it_changes_no_state_and_never_from_the_future(
    corner: Corner, state: str, earlier: bool
) -> None:
    delivery(corner, state, "wamid.1")
    if earlier:
        corner.rows("UPDATE deliveries SET attempt_id = gen_random_uuid() RETURNING 1")
    told = status("failed", errors=[{"code": "131050"}], timestamp=str(NOW_MS // 1000 + 86_400))

    corner.write(SINK, [webhook(told)])

    assert corner.rows(
        "SELECT contact_id, decided_at = to_timestamp(%s / 1000.0) FROM suppressions", NOW_MS
    ) == [(match(1).contact_id, True)]


STOPS = [
    {"messages": [{"from": "554789211984", "id": "in.1", "type": "text", "text": {"body": "Stop!"}}]},
    {"messages": [{"from": "5547989211984", "id": "in.1", "type": "text", "text": {"body": " sair "}}]},
    {"messages": [{"from": "5547989211984", "id": "in.1", "type": "button", "button": {"text": "PARAR"}}]},
    {"user_preferences": [{"wa_id": "5547989211984", "category": "marketing_messages", "value": "stop"}]},
]


@pytest.mark.parametrize("said", STOPS)
@pytest.mark.parametrize("serves", ["demo", "*"])
def test_stop_suppresses_whom_the_number_may_write_to(
    corner: Corner, said: dict[str, Any], serves: str
) -> None:
    """A number of one tenant suppresses for it alone, one for all of them."""
    person = {tenant: contact_id(KEY, tenant, "+5547989211984") for tenant in ("demo", "other", "stranger")}
    for tenant in person:
        corner.rows("INSERT INTO tenants (tenant_id, name) VALUES (%s, %s) RETURNING 1", tenant, tenant)
    for tenant in ("demo", "other"):
        corner.write(Deliveries(), [match(1, tenant, tenant_id=tenant, contact_id=person[tenant])])
    corner.rows(
        "INSERT INTO sender_numbers (number_id, tenant_id, provider, base_url, credential)"
        " VALUES ('1001', %s, 'meta-cloud', 'http://p', 'TOKEN') RETURNING 1",
        serves,
    )

    first = corner.write(SINK, [webhook(**said)])
    again = corner.write(SINK, [webhook(**said)])

    expected = ["demo"] if serves == "demo" else ["demo", "other", "stranger"]
    assert corner.rows("SELECT tenant_id, contact_id FROM suppressions ORDER BY 1") == [
        (tenant, person[tenant]) for tenant in expected
    ]
    assert (first.rows, again.rows) == (len(expected), 0)


def test_other_texts_are_no_opt_out() -> None:
    texts = ["don't stop", "stop by my shop on Monday, it is the one in the corner", "", "parara", None, 3]
    said = [{"from": "5547989211984", "type": "text", "text": {"body": text}} for text in texts]

    consents = [built_in().consent_of(event.texts) for event in webhook(messages=said).inbound]
    assert consents == ["perhaps", "perhaps", None, None, None, None]


def test_what_is_odd_in_a_webhook_costs_only_itself() -> None:
    odd = [None, 3, {}, {"id": 5, "status": "sent"}, {"id": "wamid.2"}]
    fine = status("sent", attempt="no UUID", timestamp="soon", errors="?", id="wamid.\x00 3")

    found = parse(body(statuses=[*odd, fine], messages={"from": 1}, user_preferences=[[]]), NOW_MS)

    assert [(s.message_id, s.status, s.at_ms, s.attempt_id) for s in found.statuses] == [
        ("wamid. 3", "sent", NOW_MS, None)
    ]
    assert found.odd == 7


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"entry": 3}', b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_webhook_is_undecodable(content: bytes) -> None:
    record = codec("provider_webhook").encode(ProviderWebhook("whatsapp", "1", NOW_MS, WebhookBody(content)))

    with pytest.raises(Undecodable):
        WebhookDecoder().decode(record)


def test_a_lone_surrogate_in_a_name_costs_neither_the_statuses_nor_a_stop() -> None:
    stop = {"from": "5547989211984", "id": "in.1", "type": "text", "text": {"body": "stop"}}
    content = body(
        statuses=[status("read")],
        messages=[stop],
        contacts=[{"wa_id": "5547989211984", "profile": {"name": "SURROGATE"}}],
    ).replace(b"SURROGATE", rb"Ana \ud83d")
    record = codec("provider_webhook").encode(
        ProviderWebhook("meta-cloud", "1", NOW_MS, WebhookBody(content))
    )

    found = WebhookDecoder().decode(record)

    assert [s.status for s in found.statuses] == ["read"]
    assert [event.texts for event in found.inbound] == [("stop",)]
