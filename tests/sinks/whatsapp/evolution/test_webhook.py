"""Evolution API's webhooks: what is stored of them, and what each reports."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sinks.webhook import AccountOfNumber, Inbound, Status, WebhookRequest
from sinks.whatsapp.evolution.webhook import SOURCE, parse

NOW_MS = 1_785_900_000_000
PERSON = "554789211984"
JID, LID = f"{PERSON}@s.whatsapp.net", "123456789012345@lid"


def body(event: str, data: object, **more: Any) -> bytes:
    return json.dumps({"event": event, "instance": "shop", "data": data, "apikey": "k-e-y", **more}).encode()


@pytest.mark.parametrize("event", ["messages.upsert", "MESSAGES_UPSERT"])
def test_a_person_writes(event: str) -> None:
    data = {
        "key": {"remoteJid": LID, "remoteJidAlt": JID, "fromMe": False, "id": "AC15"},
        "message": {"extendedTextMessage": {"text": "SAIR", "contextInfo": {"stanzaId": "3EB0"}}},
        "messageType": "extendedTextMessage",
        "messageTimestamp": 1769798428,
    }
    webhook = parse(body(event, data), NOW_MS)
    assert webhook.inbound == (
        Inbound((LID, PERSON), "shop", "text", 1769798428000, "AC15", texts=("SAIR",), reply_to="3EB0"),
    )
    assert webhook.accounts == (AccountOfNumber("shop", "shop", ""),)


@pytest.mark.parametrize(
    "data",
    [
        {"keyId": "3EB0", "remoteJid": JID, "fromMe": True, "status": "DELIVERY_ACK"},
        {"key": {"id": "3EB0", "remoteJid": JID, "fromMe": True}, "update": {"status": 3}},
        {"key": {"id": "3EB0", "remoteJid": JID}, "status": "delivered"},
        [{"key": {"id": "3EB0", "remoteJid": JID, "fromMe": "true"}, "update": {"status": "DELIVERY_ACK"}}],
    ],
)
def test_every_form_of_a_receipt(data: object) -> None:
    (status,) = parse(body("messages.update", data), NOW_MS).statuses
    assert status == Status("3EB0", "delivered", NOW_MS, recipients=(PERSON,))


@pytest.mark.parametrize(
    ("more", "statuses"),
    [
        ({"status": "SERVER_ACK"}, ["sent"]),
        ({"status": "PLAYED"}, ["read"]),
        ({"status": "ERROR"}, ["failed"]),
        ({"status": "PENDING"}, []),
        ({"status": True}, []),
        ({"fromMe": False}, []),  # of a person's message, which this side has read
        ({"remoteJid": "1@g.us"}, []),
        ({"keyId": ""}, []),
    ],
)
def test_states_and_what_is_not_of_this_side(more: dict[str, object], statuses: list[str]) -> None:
    data = {"keyId": "3EB0", "remoteJid": JID, "fromMe": True, "status": "READ", **more}
    found = parse(body("messages.update", data), NOW_MS)
    assert [one.status for one in found.statuses] == statuses


@pytest.mark.parametrize(
    ("state", "reason", "event", "effect"),
    [
        ("close", 401, "logged_out", "quarantine"),
        ("close", "403", "banned", "quarantine"),
        ("close", 428, "disconnected", "session_lost"),
        ("close", None, "disconnected", "session_lost"),
        ("open", 200, "connected", "session_open"),
        ("connecting", 200, "connecting", "none"),
    ],
)
def test_a_lost_session_holds_its_number(state: str, reason: object, event: str, effect: str) -> None:
    data = {"instance": "shop", "state": state, "statusReason": reason}
    (notice,) = parse(body("connection.update", data), NOW_MS).notices
    assert (notice.event, notice.effect, notice.account_id) == (event, effect, "shop")


def test_what_is_stored_has_neither_key_nor_pairing_code() -> None:
    data = {"qrcode": {"base64": "data:image/png;base64,iVBOR", "code": "2@abc", "pairingCode": "ABCD1234"}}
    told = json.loads(body("qrcode.updated", data)) | {"destination": "https://edge/webhooks?key=s-e-c-r-e-t"}
    stored = SOURCE.stored(WebhookRequest({}, {}, json.dumps(told).encode()))
    for secret in (b"k-e-y", b"iVBOR", b"2@abc", b"ABCD1234", b"s-e-c-r-e-t"):
        assert secret not in stored
    assert parse(stored, NOW_MS).notices[0].kind == "qrcode.updated"
    assert SOURCE.account_of(stored) == "shop"


def test_what_is_stored_keeps_the_code_of_a_failure() -> None:
    told = body("messages.update", {"keyId": "3EB0", "status": "ERROR", "code": "463"})
    stored = SOURCE.stored(WebhookRequest({}, {}, told if isinstance(told, bytes) else told.encode()))
    assert b'"463"' in stored


@pytest.mark.parametrize(
    ("told", "numbers"),
    [
        ({"instance": "shop"}, {"shop"}),
        ({"instance": "shop", "data": {"instance": "other"}}, {"shop", "other"}),
        ({"data": [{"instance": "other"}]}, set()),
        ({"instance": None}, set()),
        (7, set()),
    ],
)
def test_every_number_that_a_body_states(told: object, numbers: set[str]) -> None:
    assert set(SOURCE.stated_numbers(json.dumps(told).encode())) == numbers


def test_the_number_of_the_address_counts_and_a_body_is_of_it_alone() -> None:
    data = {"keyId": "3EB0", "remoteJid": JID, "fromMe": True, "status": "READ"}
    assert SOURCE.parse(body("messages.update", data), NOW_MS, "shop").of_number == "shop"
    nameless = json.dumps({"event": "messages.update", "data": data}).encode()
    assert SOURCE.parse(nameless, NOW_MS, "shop").accounts == (AccountOfNumber("shop", "shop", ""),)
    assert SOURCE.parse(nameless, NOW_MS).of_number not in ("", "shop")


@pytest.mark.parametrize(
    "more",
    [
        {"messageStubParameters": ["463"]},
        {
            "key": {"id": "3EB0", "fromMe": True},
            "update": {"status": "ERROR", "messageStubParameters": ["463"]},
        },
    ],
)
def test_the_lock_of_new_chats_is_the_error_of_a_message(more: dict[str, object]) -> None:
    data = {"keyId": "3EB0", "fromMe": True, "remoteJid": JID, "status": "ERROR", **more}
    (status,) = parse(body("messages.update", data), NOW_MS).statuses
    assert [error.code for error in status.errors] == ["reachout-timelock"]
    (plain,) = parse(
        body("messages.update", {**data, "messageStubParameters": ["400"], "update": None}), NOW_MS
    ).statuses
    assert plain.errors == ()
