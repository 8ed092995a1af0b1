"""A session number's webhook has no part in another number's messages, people and holds."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from schemas.codec import codec
from schemas.records import ProviderWebhook, WebhookBody
from sinks.delivery.webhooks.statuses import ProviderStatuses, WebhookDecoder, merge_waiting
from sinks.postgres.tables.deliveries import Deliveries
from sinks.webhook import Webhook
from tests.support.samples import NOW_MS, match
from tests.support.sinks import Corner

THEIRS, OURS = "558185464605", "551100000001"
ATTEMPT = str(uuid.UUID(int=77))
MESSAGE = "3EB0AA"
PERSON = "554789211984"
JID = f"{PERSON}@s.whatsapp.net"
SINK = ProviderStatuses(b"key of this test")


def webhook(address: str, kind: str, **told: Any) -> Webhook:
    """As the sink reads it from the topic: the record's account is the number of the address."""
    body = json.dumps({"EventType": kind, **told}).encode()
    record = ProviderWebhook("uazapi", address, NOW_MS, WebhookBody(body))
    return WebhookDecoder().decode(codec("provider_webhook").encode(record))


def receipt(address: str, state: str = "Read", lid: str = "") -> Webhook:
    event = {"MessageIDs": [MESSAGE], "Chat": JID, "sender_pn": JID, "sender_lid": lid, "IsFromMe": False}
    return webhook(address, "messages_update", event=event, state=state)


def echo(address: str) -> Webhook:
    message = {"messageid": MESSAGE, "chatid": JID, "fromMe": True, "track_id": ATTEMPT, "owner": address}
    return webhook(address, "messages", message=message | {"track_source": "quizstream"})


def stop(address: str, **more: Any) -> Webhook:
    message = {"chatid": "5511999990001@s.whatsapp.net", "text": "SAIR", "messageType": "conversation"}
    return webhook(address, "messages", message=message | more)


@pytest.fixture
def ledger(corner: Corner) -> Corner:
    """A delivery of the tenant `demo`, which their number has sent; ours is of another tenant."""
    corner.write(Deliveries(), [match(1)])
    corner.rows("INSERT INTO tenants (tenant_id, name) VALUES ('demo', ''), ('other', '') RETURNING 1")
    corner.rows(
        "INSERT INTO sender_numbers (number_id, tenant_id, provider, base_url, credential)"
        " VALUES (%s, 'demo', 'uazapi', 'http://p', 'A'), (%s, 'other', 'uazapi', 'http://p', 'B')"
        " RETURNING 1",
        THEIRS, OURS,
    )  # fmt: skip
    corner.rows(
        "UPDATE deliveries SET state = 'sent', attempt_id = %s, provider_message_id = %s RETURNING 1",
        ATTEMPT, MESSAGE,
    )  # fmt: skip
    corner.rows(
        "INSERT INTO delivery_attempts (attempt_id, delivery_id, number_id, attempt, outcome, provider,"
        " provider_message_id) SELECT %s, delivery_id, %s, 1, 'sent', 'uazapi', %s FROM deliveries"
        " RETURNING 1",
        ATTEMPT, THEIRS, MESSAGE,
    )  # fmt: skip
    corner.connection.commit()
    return corner


def state_of(corner: Corner) -> object:
    return corner.rows("SELECT state FROM deliveries")[0][0]


@pytest.mark.parametrize("state", ["Delivered", "Read", "Error"])
def test_a_status_of_another_numbers_message_changes_nothing(ledger: Corner, state: str) -> None:
    ledger.write(SINK, [receipt(OURS, state, lid="99999@lid"), echo(OURS)])
    assert (merge_waiting(ledger.connection), state_of(ledger)) == (0, "sent")
    assert ledger.rows("SELECT count(*) FROM contact_aliases") == [(0,)]
    assert [event.state for event in ledger.told()] == ["waiting"]  # as it was made


def test_an_ambiguous_call_is_not_resolved_by_another_number(ledger: Corner) -> None:
    ledger.rows("UPDATE deliveries SET state = 'ambiguous', provider_message_id = NULL RETURNING 1")
    ledger.rows("UPDATE delivery_attempts SET outcome = 'ambiguous', provider_message_id = NULL RETURNING 1")
    ledger.write(SINK, [echo(OURS)])
    assert state_of(ledger) == "ambiguous"
    ledger.write(SINK, [echo(THEIRS)])
    assert state_of(ledger) == "sent"


@pytest.mark.parametrize("together", [True, False])
def test_what_another_number_reported_gives_way_to_the_number_itself(ledger: Corner, together: bool) -> None:
    batches = [[receipt(OURS), receipt(THEIRS)]] if together else [[receipt(OURS)], [receipt(THEIRS)]]
    for batch in batches:
        ledger.write(SINK, batch)
    assert state_of(ledger) == "read"
    assert ledger.rows("SELECT number_id, merged FROM provider_statuses") == [(THEIRS, True)]
    ledger.write(SINK, [receipt(OURS)])
    assert ledger.rows("SELECT number_id, merged FROM provider_statuses") == [(THEIRS, True)]


def test_a_reply_to_another_numbers_message_opts_nobody_of_its_tenant_out(ledger: Corner) -> None:
    ledger.write(SINK, [stop(OURS, quoted=MESSAGE)])
    assert ledger.rows("SELECT DISTINCT tenant_id FROM suppressions") == [("other",)]
    ledger.write(SINK, [stop(THEIRS, quoted=MESSAGE)])
    assert ledger.rows("SELECT DISTINCT tenant_id FROM suppressions ORDER BY 1") == [("demo",), ("other",)]


@pytest.mark.parametrize("address", ["559999999999", "unknown"])
def test_a_number_that_is_not_there_opts_nobody_out(ledger: Corner, address: str) -> None:
    ledger.write(SINK, [stop(address)])
    assert ledger.rows("SELECT tenant_id FROM suppressions") == []


def test_a_lost_session_holds_its_own_number_whatever_the_body_states(ledger: Corner) -> None:
    ledger.write(
        SINK,
        [webhook(OURS, "connection", owner=THEIRS, type="LoggedOut", instance={"status": "disconnected"})],
    )
    held = "SELECT number_id FROM sender_numbers WHERE state <> 'active'"
    assert ledger.rows(held) == [(OURS,)]
