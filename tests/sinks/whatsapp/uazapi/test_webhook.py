"""UAZAPI's webhooks: which bodies are genuine, what is stored of them, what each reports."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.webhook import AccountOfNumber, Inbound, NotAWebhook, Secrets, Status, WebhookRequest
from sinks.whatsapp.jids import people
from sinks.whatsapp.uazapi.webhook import SOURCE, parse

NOW_MS = 1_785_900_000_000
OWNER = "558185464605"
PERSON = "554789211984"
JID, LID = f"{PERSON}@s.whatsapp.net", "123456789012345@lid"
ATTEMPT = "1c9a3e0e-8f5c-4e6e-9d39-0f3f5c7d1b11"
SECRETS = Secrets(hashlib.sha256(b"the-secret").hexdigest().encode(), "")


def body(kind: str, **more: Any) -> bytes:
    return json.dumps(
        {
            "BaseUrl": "https://x.uazapi.com",
            "EventType": kind,
            "owner": OWNER,
            "instanceName": "one",
            "token": "a-b-c",
            **more,
        }
    ).encode()


def message(**more: Any) -> bytes:
    content = {
        "chatid": JID,
        "fromMe": False,
        "isGroup": False,
        "id": f"{OWNER}:AC15",
        "messageid": "AC15",
        "messageTimestamp": 1769798428000,
        "messageType": "ExtendedTextMessage",
        "sender": LID,
        "sender_lid": LID,
        "sender_pn": JID,
        "text": "SAIR",
        "quoted": "",
        "track_id": "",
        "track_source": "",
        "vote": "",
    }
    return body("messages", message=content | more)


def receipt(state: str = "Delivered", **more: Any) -> bytes:
    event = {
        "MessageIDs": ["3EB01", "3EB02"],
        "Chat": JID,
        "Sender": JID,
        "IsFromMe": "False",
        "IsGroup": "False",
        "Timestamp": "1785820620",
        "Type": state,
    }
    return body("messages_update", event=event | more, state=state, type="ReadReceipt")


@pytest.mark.parametrize(
    ("key", "genuine"), [("the-secret", True), ("wrong", False), ("", False), ("ç", False), (None, False)]
)
def test_a_body_is_genuine_with_the_secret_of_the_address(key: str | None, genuine: bool) -> None:
    query = {} if key is None else {"key": key}
    assert SOURCE.is_genuine(WebhookRequest({}, query, b"{}"), SECRETS) == genuine
    assert not SOURCE.is_genuine(WebhookRequest({}, query | {"key": ""}, b"{}"), Secrets(b"", ""))
    assert SOURCE.handshake({"hub.mode": "subscribe", **query}, SECRETS) is None


def test_what_is_stored_has_neither_token_nor_pairing_code() -> None:
    instance = {
        "name": "one",
        "token": 'with "quotes"\\',
        "qrcode": "data:image/png;base64,iVBOR",
        "paircode": "1234-5678",
    }
    told = body("connection", instance=instance | {"status": "connecting"})
    stored = SOURCE.stored(WebhookRequest({}, {}, told))
    for secret in (b"a-b-c", b"quotes", b"iVBOR", b"1234-5678"):
        assert secret not in stored
    assert json.loads(stored)["instance"]["name"] == "one"
    written = body("messages", message={"text": 'my "token": "x" is {"token":"y"}'})
    assert (
        json.loads(SOURCE.stored(WebhookRequest({}, {}, written)))["message"]
        == json.loads(written)["message"]
    )


@given(st.recursive(st.none() | st.booleans() | st.text() | st.integers(), lambda inner: st.lists(inner)))
def test_redaction_leaves_json_and_everything_else_as_it_was(value: object) -> None:
    given_body = json.dumps({"a": value, "token": "secret", "z": value}).encode()
    assert json.loads(SOURCE.stored(WebhookRequest({}, {}, given_body))) == {
        "a": value,
        "token": "removed",
        "z": value,
    }


def test_a_person_writes() -> None:
    webhook = parse(message(quoted="3EB0", vote="Sim"), NOW_MS)
    assert webhook.inbound == (
        Inbound((PERSON, LID), OWNER, "text", 1769798428000, "AC15", texts=("SAIR", "Sim"), reply_to="3EB0"),
    )
    assert webhook.accounts == (AccountOfNumber(OWNER, OWNER, OWNER),)
    assert (webhook.statuses, webhook.odd, webhook.notices) == ((), 0, ())


@pytest.mark.parametrize(
    ("field", "value", "count"),
    [
        ("fromMe", "true", 0),
        ("fromMe", 1, 0),
        ("fromMe", "False", 1),
        ("isGroup", "True", 0),
        ("chatid", "12036304@g.us", 0),
        ("chatid", "status@broadcast", 0),
    ],
)
def test_booleans_come_as_text_and_groups_are_nobody(field: str, value: object, count: int) -> None:
    assert len(parse(message(**{field: value}), NOW_MS).inbound) == count


def test_the_echo_of_an_attempt_proves_that_it_was_sent() -> None:
    ours = {"fromMe": True, "track_id": ATTEMPT, "track_source": "quizstream", "messageid": "3EB0"}
    assert parse(message(**ours), NOW_MS).statuses == (
        Status("3EB0", "sent", 1769798428000, ATTEMPT, recipients=(PERSON,)),
    )
    for other in ({"track_source": "chatwoot"}, {"track_id": "7"}, {"status": "Error"}, {"fromMe": False}):
        assert parse(message(**ours | other), NOW_MS).statuses == ()


@pytest.mark.parametrize(
    ("state", "status"),
    [("Delivered", "delivered"), ("Read", "read"), ("Played", "read"), ("Sent", "sent"), ("Error", "failed")],
)
def test_a_receipt_is_of_several_messages(state: str, status: str) -> None:
    statuses = parse(receipt(state), NOW_MS).statuses
    assert statuses == tuple(
        Status(one, status, 1785820620000, recipients=(PERSON,)) for one in ("3EB01", "3EB02")
    )


def test_the_older_form_of_a_receipt() -> None:
    stated = {"messageid": "3EB01", "chatid": JID, "status": "Read", "fromMe": True}
    flat = body("messages_update", **stated, messageTimestamp=1706198400000)
    assert parse(flat, NOW_MS).statuses == (Status("3EB01", "read", 1706198400000, recipients=(PERSON,)),)


def test_a_receipt_teaches_the_id_without_a_phone_only_of_the_same_person() -> None:
    taught = parse(receipt(sender_pn=JID, sender_lid=LID), NOW_MS).statuses[0]
    assert taught.recipients == (PERSON, LID)
    other = parse(receipt(sender_pn="551100000000@s.whatsapp.net", sender_lid=LID), NOW_MS).statuses[0]
    assert other.recipients == (PERSON,)


@pytest.mark.parametrize("more", [{"IsFromMe": "True"}, {"Chat": "1@g.us"}])
def test_own_receipts_and_those_of_groups_are_counted(more: dict[str, Any]) -> None:
    webhook = parse(receipt(**more), NOW_MS)
    assert (webhook.statuses, [notice.kind for notice in webhook.notices]) == ((), ["receipts"])
    assert parse(receipt("ReadSelf"), NOW_MS).statuses == ()


@pytest.mark.parametrize(
    ("status", "reason", "kind", "event", "effect"),
    [
        ("disconnected", "401: logged out from another device", "LoggedOut", "logged_out", "quarantine"),
        ("disconnected", "", "LoggedOut", "logged_out", "quarantine"),
        ("disconnected", "403: forbidden", "", "banned", "quarantine"),
        ("disconnected", "428: connection closed", "", "disconnected", "session_lost"),
        ("disconnected", "Network error", "", "disconnected", "session_lost"),
        ("connected", "", "", "connected", "session_open"),
        ("connecting", "", "", "connecting", "none"),
    ],
)
def test_a_lost_session_holds_its_number(
    status: str, reason: str, kind: str, event: str, effect: str
) -> None:
    instance = {
        "status": status,
        "lastDisconnect": "2026-02-02 17:46:57.567Z",
        "lastDisconnectReason": reason,
    }
    (notice,) = parse(body("connection", instance=instance, type=kind), NOW_MS).notices
    assert (notice.kind, notice.event, notice.effect) == ("connection", event, effect)
    assert (notice.account_id, notice.stored) == (OWNER, event != "connecting")
    assert notice.at_ms == (NOW_MS if status != "disconnected" else 1770054417567)


@pytest.mark.parametrize(
    ("told", "numbers"),
    [
        ({"owner": "558185464605"}, {"558185464605"}),
        ({"owner": "558185464605:12@s.whatsapp.net"}, {"558185464605"}),
        ({"message": {"owner": "551100000001"}}, {"551100000001"}),
        ({"owner": "558185464605", "message": {"owner": "551100000001"}}, {"558185464605", "551100000001"}),
        ({"messages": [{"owner": "1"}, {"owner": "2"}]}, {"1", "2"}),
        ({"instance": {"owner": "551100000001"}}, {"551100000001"}),
        ({"owner": 7, "message": []}, set()),
        ([], set()),
    ],
)
def test_every_number_that_a_body_states(told: object, numbers: set[str]) -> None:
    assert set(SOURCE.stated_numbers(json.dumps(told).encode())) == numbers


def test_the_number_of_the_address_counts_and_a_body_is_of_it_alone() -> None:
    told = {"EventType": "messages", "message": {"chatid": JID, "text": "SAIR"}}
    webhook = SOURCE.parse(json.dumps(told).encode(), NOW_MS, OWNER)
    assert [one.number_id for one in webhook.inbound] == [OWNER]
    assert webhook.of_number == OWNER
    assert SOURCE.parse(json.dumps(told).encode(), NOW_MS).of_number not in ("", OWNER)


def test_what_is_not_a_webhook() -> None:
    for wrong in (b"", b"[]", b"1", b"{", b"{}", b'{"EventType": 7}', b"\xff"):
        with pytest.raises(NotAWebhook):
            parse(wrong, NOW_MS)
    assert parse(body("something_new"), NOW_MS).notices[0].kind == "other"
    assert SOURCE.account_of(message()) == OWNER
    assert SOURCE.account_of(b"no") is None
    assert SOURCE.account_of(b'{"owner": "no number!"}') is None


@pytest.mark.parametrize(
    ("jid", "ids"),
    [
        ("5547989211984@s.whatsapp.net", ("5547989211984",)),
        ("5547989211984:12@s.whatsapp.net", ("5547989211984",)),
        ("5547989211984@c.us", ("5547989211984",)),
        (LID, (LID,)),
        ("123456789012345:3@lid", (LID,)),
        ("12036304@g.us", ()),
        ("5547989211984", ()),
        ("x@s.whatsapp.net", ()),
        ("1" * 200 + "@s.whatsapp.net", ()),
        (7, ()),
        (None, ()),
    ],
)
def test_forms_of_an_id(jid: object, ids: tuple[str, ...]) -> None:
    assert people(jid) == ids
