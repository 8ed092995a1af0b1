"""Webhooks of Evolution API: without a signature, so a key in the address; read tolerantly.

Bodies hold the API key, and during pairing the QR code: `stored` removes both before a body is
stored. Names of events come as `messages.upsert` or `MESSAGES_UPSERT`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from sinks.outcomes import message_id_of
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
from sinks.whatsapp.number_keys import UNSTATED, has_key
from sinks.whatsapp.session_signals import errors_of

INSTANCE_CHARS_MAX = 128
TEXT_CHARS_MAX = 4_096
PARTS_MAX = 1_000  # of one body

# `code` is either digits, the reason of a failure, or the content of a QR code, which is a secret: it pairs.
_SECRET_FIELDS = secret_fields(
    "apikey", "token", "base64", "pairingCode", "destination", unless_digits="code"
)
_INSTANCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_STATUSES = {
    **dict.fromkeys(("SERVER_ACK", "SENT", "2"), "sent"),
    **dict.fromkeys(("DELIVERY_ACK", "DELIVERED", "3"), "delivered"),
    **dict.fromkeys(("READ", "PLAYED", "4", "5"), "read"),
    **dict.fromkeys(("ERROR", "FAILED", "0"), "failed"),
}
_TEXTS = (
    ("conversation",),
    ("extendedTextMessage", "text"),
    ("imageMessage", "caption"),
    ("videoMessage", "caption"),
    ("documentMessage", "caption"),
    ("buttonsResponseMessage", "selectedDisplayText"),
    ("buttonsResponseMessage", "selectedButtonId"),
    ("templateButtonReplyMessage", "selectedDisplayText"),
    ("templateButtonReplyMessage", "selectedId"),
    ("listResponseMessage", "title"),
    ("listResponseMessage", "singleSelectReply", "selectedRowId"),
)
_KINDS = {
    **dict.fromkeys(("conversation", "extendedTextMessage"), "text"),
    **dict.fromkeys(("buttonsResponseMessage", "templateButtonReplyMessage"), "button"),
    "listResponseMessage": "interactive",
    "imageMessage": "image",
    "videoMessage": "video",
    "audioMessage": "audio",
    "documentMessage": "document",
    "stickerMessage": "sticker",
    "locationMessage": "location",
    "contactMessage": "contacts",
    "reactionMessage": "reaction",
}
PERSON = ("remoteJid", "remoteJidAlt", "senderPn", "senderLid")  # of a key, in a chat with one person
_COUNTED = frozenset({"send.message", "qrcode.updated", "contacts.update", "chats.update", "presence.update"})
# Reasons after which no connection comes back by itself: to pair again is an operator's.
_LOST = {401: "logged_out", 402: "logged_out", 403: "banned", 406: "banned", 463: "locked"}


class EvolutionWebhooks:
    """The address of a number's webhooks has its key: `/webhooks/evolution/{instance}?key=...`."""

    provider = "evolution"
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
        stated = (text_at(envelope, "instance"), text_at(envelope, "data", "instance"))
        return {one for one in stated if one}

    def stored(self, request: WebhookRequest) -> bytes:
        return without(_SECRET_FIELDS, request.body)

    def account_of(self, body: bytes) -> str | None:
        """The instance."""
        try:
            instance = text_at(_envelope(body), "instance")
        except NotAWebhook:
            return None
        return instance if _INSTANCE.fullmatch(instance) else None

    def parse(self, body: bytes, received_at_ms: int, account: str = "") -> Webhook:
        return parse(body, received_at_ms, account)

    def is_opt_out(self, code: str) -> bool:
        return False


SOURCE = EvolutionWebhooks()


def parse(body: bytes, received_at_ms: int, number_id: str = "") -> Webhook:
    """`number_id`: of the address; without it the instance that the body states.

    Raises `NotAWebhook` for what is not a JSON object with the name of an event, and for nothing else.
    """
    envelope = _envelope(body)
    event = text_at(envelope, "event").lower().replace("_", ".")
    if not event:
        raise NotAWebhook("the webhook's body has no name of an event")
    parts = _Parts(number_id or text_at(envelope, "instance")[:INSTANCE_CHARS_MAX], received_at_ms)
    found = envelope.get("data")
    data = [one for one in (found if isinstance(found, list) else [found]) if isinstance(one, dict)]
    for part in data[:PARTS_MAX]:
        match event:
            case "messages.upsert":
                parts.take_message(part)
            case "messages.update":
                parts.take_receipt(part)
            case "connection.update":
                parts.take_connection(part)
            case other:
                parts.count(other if other in _COUNTED else "other")
    return parts.webhook()


class _Parts:
    """What one body reports."""

    def __init__(self, instance: str, received_at_ms: int) -> None:
        self._instance = instance
        self._received_at_ms = received_at_ms
        self._statuses: list[Status] = []
        self._inbound: list[Inbound] = []
        self._notices: list[Notice] = []
        self._odd = 0

    def webhook(self) -> Webhook:
        # An instance is one number, and its own account.
        own = (AccountOfNumber(self._instance, self._instance, ""),) if self._instance else ()
        statuses, inbound, notices = tuple(self._statuses), tuple(self._inbound), tuple(self._notices)
        return Webhook(
            SOURCE.provider, statuses, inbound, self._odd, notices, own, of_number=self._instance or UNSTATED
        )

    def count(self, kind: str) -> None:
        self._notices.append(Notice(kind, at_ms=self._received_at_ms))

    def take_message(self, part: Mapping[str, Any]) -> None:
        key = part.get("key")
        if not isinstance(key, dict):
            self._odd += 1
        elif is_of_many(key.get("remoteJid")):
            self.count("group_messages")
        elif is_true(key.get("fromMe")):
            self.count("own_messages")
        elif ids := people(*(key.get(name) for name in PERSON)):
            found = part.get("message")
            message: Mapping[str, Any] = found if isinstance(found, dict) else {}
            texts = (text_at(message, *path)[:TEXT_CHARS_MAX] for path in _TEXTS)
            replied = text_at(part, "contextInfo", "stanzaId")
            replied = replied or text_at(message, "extendedTextMessage", "contextInfo", "stanzaId")
            self._inbound.append(
                Inbound(
                    ids,
                    self._instance,
                    _KINDS.get(text_at(part, "messageType"), "unsupported"),
                    time_ms(part.get("messageTimestamp"), self._received_at_ms),
                    event_id=text_at(key, "id"),
                    texts=tuple(dict.fromkeys(text for text in texts if text)),
                    reply_to=replied or None,
                )
            )
        else:
            self._odd += 1

    def take_receipt(self, part: Mapping[str, Any]) -> None:
        """`{keyId, remoteJid, fromMe, status}`, or the same within `key` and `update`."""
        found = part.get("key")
        key: Mapping[str, Any] = found if isinstance(found, dict) else part
        update = part.get("update")
        stated = update.get("status") if isinstance(update, dict) else part.get("status")
        status = _STATUSES.get(str(stated).upper()) if not isinstance(stated, bool) else None
        message_id = text_at(part, "keyId") or text_at(key, "id")
        chat = key.get("remoteJid")
        if status is None or is_of_many(chat) or ("fromMe" in key and not is_true(key["fromMe"])):
            self.count("receipts")
        elif not message_id:
            self._odd += 1
        else:
            errors = errors_of(status, part, update if isinstance(update, dict) else {})
            told = Status(
                message_id_of(message_id),
                status,
                self._received_at_ms,
                errors=errors,
                recipients=people(chat),
            )
            self._statuses.append(told)

    def take_connection(self, part: Mapping[str, Any]) -> None:
        state, reason = text_at(part, "state"), str(part.get("statusReason"))
        code = int(reason) if re.fullmatch(r"[0-9]{3}", reason) else 0
        event, effect = _connection_of(state, code)
        self._notices.append(
            Notice(
                "connection",
                event,
                number_id=self._instance,
                at_ms=self._received_at_ms,
                account_id=self._instance,
                detail=str(code) if code else "",
                effect=effect,
                stored=event != "connecting",  # reported with each new QR code
            )
        )


def _connection_of(state: str, code: int) -> tuple[str, Effect]:
    if state == "open":
        return "connected", "session_open"
    if state != "close":
        return "connecting", "none"
    event = _LOST.get(code)
    return (event, "quarantine") if event else ("disconnected", "session_lost")


def _envelope(body: bytes) -> dict[str, Any]:
    try:
        envelope = decoded(body)
    except ValueError:
        raise NotAWebhook("the webhook's body is not JSON") from None
    if not isinstance(envelope, dict):
        raise NotAWebhook("the webhook's body is not an object")
    return envelope
