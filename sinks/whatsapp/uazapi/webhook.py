"""Webhooks of UAZAPI: without a signature, so a key in the address; read tolerantly, one event a body.

Bodies hold the token of the instance, and while it is paired the QR code: `stored` removes both
before a body is stored. Numbers and booleans come as such or as text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sinks.outcomes import message_id_of, without_personal
from sinks.tolerant_json import decoded
from sinks.webhook import (
    RECEIVED,
    AccountOfNumber,
    Effect,
    Inbound,
    NotAWebhook,
    Notice,
    Secrets,
    Status,
    Webhook,
    WebhookRequest,
)
from sinks.whatsapp.jids import is_of_many, people
from sinks.whatsapp.loose_values import is_true, secret_fields, text_at, time_ms, without
from sinks.whatsapp.number_keys import UNSTATED, has_key, own_number
from sinks.whatsapp.session_signals import errors_of
from sinks.whatsapp.uazapi.message_ids import message_id

TRACK_SOURCE = "quizstream"  # as the client sends it
ACCOUNT_CHARS_MAX = 64
TEXT_CHARS_MAX = 4_096
DETAIL_CHARS_MAX = 200
IDS_MAX = 1_000  # messages of one receipt

_SECRET_FIELDS = secret_fields("token", "admintoken", "apikey", "openai_apikey", "qrcode", "paircode")
_STATUSES = {
    **dict.fromkeys(("sent", "server_ack"), "sent"),
    **dict.fromkeys(("delivered", "delivery_ack"), "delivered"),
    **dict.fromkeys(("read", "played"), "read"),
    **dict.fromkeys(("failed", "error"), "failed"),
}
_KINDS = {
    **dict.fromkeys(("conversation", "extendedtextmessage", "text"), "text"),
    **dict.fromkeys(("buttonsresponsemessage", "templatebuttonreplymessage"), "button"),
    **dict.fromkeys(
        ("listresponsemessage", "interactiveresponsemessage", "pollupdatemessage"), "interactive"
    ),
    "imagemessage": "image",
    "videomessage": "video",
    "audiomessage": "audio",
    "documentmessage": "document",
    "stickermessage": "sticker",
    "locationmessage": "location",
    "contactmessage": "contacts",
    "reactionmessage": "reaction",
}
# Of events that are counted and nothing else.
_COUNTED = frozenset(
    {"history", "call", "contacts", "presence", "groups", "labels", "chats", "chat_labels", "blocks", "leads"}
)
# Codes of a lost session after which no connection comes back by itself: to pair again is an operator's.
_LOST = {"401": "logged_out", "402": "logged_out", "403": "banned", "406": "banned", "463": "locked"}


class UazapiWebhooks:
    """The address of a number's webhooks has its key: `/webhooks/uazapi/{owner}?key=...`."""

    provider = "uazapi"
    signing_variable = None
    verify_token_variable = None
    acknowledgement = RECEIVED

    def handshake(self, query: Mapping[str, str], secrets: Secrets) -> str | None:
        return None

    def is_genuine(self, request: WebhookRequest, secrets: Secrets) -> bool:
        return has_key(request, secrets)

    def stated_numbers(self, body: bytes) -> Collection[str]:
        try:
            envelope = _envelope(body)
        except NotAWebhook:
            return ()
        parts = [
            envelope,
            *_objects(envelope, "message", "messages", "data"),
            *_objects(envelope, "instance"),
        ]
        return {own_number(owner) for part in parts if (owner := text_at(part, "owner"))}

    def stored(self, request: WebhookRequest) -> bytes:
        return without(_SECRET_FIELDS, request.body)

    def account_of(self, body: bytes) -> str | None:
        """The number of the instance."""
        try:
            owner = _owner(_envelope(body))
        except NotAWebhook:
            return None
        return owner if 0 < len(owner) <= ACCOUNT_CHARS_MAX and owner.isalnum() else None

    def parse(self, body: bytes, received_at_ms: int, account: str = "") -> Webhook:
        return parse(body, received_at_ms, account)

    def is_opt_out(self, code: str) -> bool:
        return False


SOURCE = UazapiWebhooks()


def parse(body: bytes, received_at_ms: int, number_id: str = "") -> Webhook:
    """`number_id`: of the address; without it the owner that the body states.

    Raises `NotAWebhook` for what is not a JSON object with the type of an event, and for nothing else.
    """
    envelope = _envelope(body)
    kind = text_at(envelope, "EventType") or text_at(envelope, "event")
    if not kind:
        raise NotAWebhook("the webhook's body has no type of an event")
    parts = _Parts(number_id or _owner(envelope), received_at_ms)
    match kind.lower():
        case "messages" | "message":
            for message in _objects(envelope, "message", "messages", "data"):
                parts.take_message(message)
        case "messages_update":
            parts.take_receipt(envelope)
        case "connection":
            parts.take_connection(envelope)
        case other:
            parts.notices.append(Notice(other if other in _COUNTED else "other", at_ms=received_at_ms))
    return parts.webhook()


class _Parts:
    """What one body reports."""

    def __init__(self, owner: str, received_at_ms: int) -> None:
        self._owner = owner
        self._received_at_ms = received_at_ms
        self._statuses: list[Status] = []
        self._inbound: list[Inbound] = []
        self.notices: list[Notice] = []
        self._odd = 0

    def webhook(self) -> Webhook:
        # An instance is one number, and its own account.
        own = (AccountOfNumber(self._owner, self._owner, self._owner),) if self._owner else ()
        statuses, inbound, notices = tuple(self._statuses), tuple(self._inbound), tuple(self.notices)
        return Webhook(
            SOURCE.provider, statuses, inbound, self._odd, notices, own, of_number=self._owner or UNSTATED
        )

    def take_message(self, message: Mapping[str, Any]) -> None:
        """One that a person wrote, or the echo of one that this side sent."""
        chat = message.get("chatid")
        if is_of_many(chat) or is_true(message.get("isGroup")):
            self.notices.append(Notice("group_messages", at_ms=self._received_at_ms))
        elif is_true(message.get("fromMe")):
            self._take_echo(message)
        else:
            self._take_inbound(message)

    def _take_echo(self, message: Mapping[str, Any]) -> None:
        """The one place where a webhook has the attempt id: it proves that an ambiguous call was taken."""
        found, attempt_id = message_id(message), _uuid(message.get("track_id"))
        failed = _STATUSES.get(text_at(message, "status").lower()) == "failed"
        if text_at(message, "track_source") != TRACK_SOURCE or attempt_id is None or found is None or failed:
            self.notices.append(Notice("own_messages", at_ms=self._received_at_ms))
            return
        at_ms = time_ms(message.get("messageTimestamp"), self._received_at_ms)
        to = people(message.get("chatid"))
        self._statuses.append(Status(message_id_of(found), "sent", at_ms, attempt_id, recipients=to))

    def _take_inbound(self, message: Mapping[str, Any]) -> None:
        ids = people(
            *(message.get(key) for key in ("chatid", "sender_pn", "sender_lid", "chatlid", "sender"))
        )
        if not ids:
            self._odd += 1
            return
        texts = (text_at(message, key)[:TEXT_CHARS_MAX] for key in ("text", "vote", "buttonOrListid"))
        self._inbound.append(
            Inbound(
                ids,
                self._owner,
                _KINDS.get(text_at(message, "messageType").lower(), "unsupported"),
                time_ms(message.get("messageTimestamp"), self._received_at_ms),
                event_id=message_id(message) or "",
                texts=tuple(dict.fromkeys(text for text in texts if text)),
                reply_to=text_at(message, "quoted") or None,
            )
        )

    def take_receipt(self, envelope: Mapping[str, Any]) -> None:
        """`event` has the ids of several messages; an older form has one message at the top."""
        event = envelope.get("event")
        if isinstance(event, dict):
            status, from_me = text_at(envelope, "state") or text_at(event, "Type"), event.get("IsFromMe")
            found, chat = event.get("MessageIDs"), event.get("Chat") or event.get("chatid")
            sender, lid, at = event.get("sender_pn"), event.get("sender_lid"), event.get("Timestamp")
        else:
            status, from_me = text_at(envelope, "status") or text_at(envelope, "state"), False
            found, chat = [message_id(envelope)], envelope.get("chatid")
            sender, lid, at = None, None, envelope.get("messageTimestamp")
        ids = [one for one in found if isinstance(one, str) and one] if isinstance(found, list) else []
        known = _STATUSES.get(status.lower())
        if is_of_many(chat) or is_true(from_me) or known is None:
            # What this number itself has read, in groups, or a state that changes nothing.
            self.notices.append(Notice("receipts", at_ms=self._received_at_ms))
            return
        if not ids:
            self._odd += 1
            return
        to = people(chat)
        if to and people(sender) == to:
            to = people(chat, lid)
        at_ms = time_ms(at, self._received_at_ms)
        errors = errors_of(known, envelope, event if isinstance(event, dict) else {})
        self._statuses += [
            Status(message_id_of(one.rpartition(":")[2]), known, at_ms, errors=errors, recipients=to)
            for one in ids[:IDS_MAX]
        ]

    def take_connection(self, envelope: Mapping[str, Any]) -> None:
        found = envelope.get("instance")
        instance: Mapping[str, Any] = found if isinstance(found, dict) else {}
        state = (text_at(instance, "status") or text_at(envelope, "status")).lower()
        reason = text_at(instance, "lastDisconnectReason")
        code = re.match(r"\d{3}", reason, re.ASCII)
        event, effect = _connection_of(state, "" if code is None else code[0], text_at(envelope, "type"))
        at_ms = self._received_at_ms
        if event not in ("connected", "connecting"):
            at_ms = _stamp_ms(text_at(instance, "lastDisconnect"), at_ms)
        notice = Notice(
            "connection",
            event,
            number_id=self._owner,
            at_ms=at_ms,
            account_id=self._owner,
            phone=self._owner,
            detail=without_personal(reason[:DETAIL_CHARS_MAX]),
            effect=effect,
            stored=event != "connecting",  # reported with each new QR code
        )
        self.notices.append(notice)


def _connection_of(state: str, code: str, kind: str) -> tuple[str, Effect]:
    if state == "connected":
        return "connected", "session_open"
    if state == "connecting":
        return "connecting", "none"
    event = _LOST.get(code) or ("logged_out" if kind.lower() == "loggedout" else "")
    return (event, "quarantine") if event else ("disconnected", "session_lost")


def _envelope(body: bytes) -> dict[str, Any]:
    try:
        envelope = decoded(body)
    except ValueError:
        raise NotAWebhook("the webhook's body is not JSON") from None
    if not isinstance(envelope, dict):
        raise NotAWebhook("the webhook's body is not an object")
    return envelope


def _owner(envelope: Mapping[str, Any]) -> str:
    message = envelope.get("message")
    inner = text_at(message, "owner") if isinstance(message, dict) else ""
    return (text_at(envelope, "owner") or inner)[:ACCOUNT_CHARS_MAX]


def _objects(envelope: Mapping[str, Any], *keys: str) -> list[dict[str, Any]]:
    """Those under the first of the keys that is there."""
    found = next((envelope[key] for key in keys if key in envelope), None)
    return [one for one in (found if isinstance(found, list) else [found]) if isinstance(one, dict)]


def _stamp_ms(stamp: str, received_at_ms: int) -> int:
    """Of `2026-02-02 17:46:57.567Z`."""
    try:
        at = datetime.fromisoformat(stamp)
        at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        return max(0, min(int(at.timestamp() * 1000), received_at_ms))
    except (ValueError, OverflowError):
        return received_at_ms


def _uuid(found: object) -> str | None:
    try:
        return str(UUID(found)) if isinstance(found, str) else None
    except ValueError:
        return None
