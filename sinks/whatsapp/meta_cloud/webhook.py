"""Webhooks of the WhatsApp Cloud API, verified by signature and read tolerantly: an odd part costs itself."""

from __future__ import annotations

import hashlib
import hmac
import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

from sinks.actions import Suppress
from sinks.outcomes import message_id_of, plain
from sinks.webhook import (
    NotAWebhook,
    OptOut,
    Secrets,
    Status,
    StatusError,
    Webhook,
    WebhookRequest,
)
from sinks.whatsapp.meta_cloud.codes import action_of
from sinks.whatsapp.meta_cloud.json_body import code_of, decoded

STOP_WORDS = frozenset({"stop", "parar", "sair"})
TEXT_CHARS_MAX = 40  # a longer text that begins with a stop word is a sentence, not an order
ERRORS_MAX = 5
ACCOUNT_CHARS_MAX = 64
CHALLENGE_CHARS_MAX = 256
TITLE_CHARS_MAX = 200


_SIGNATURE_HEADER = b"x-hub-signature-256"
_SIGNATURE = b"sha256="


class CloudApiWebhooks:
    """Bodies signed with the app's secret, and a handshake when the address is registered."""

    provider = "meta-cloud"
    signing_variable = "WHATSAPP_APP_SECRET"
    verify_token_variable = "WHATSAPP_VERIFY_TOKEN"

    def handshake(self, query: Mapping[str, str], secrets: Secrets) -> str | None:
        token = query.get("hub.verify_token", "").encode("utf-8", "replace")
        agreed = hmac.compare_digest(token, secrets.verify_token.encode())
        challenge = query.get("hub.challenge", "")
        if query.get("hub.mode") != "subscribe" or not agreed or len(challenge) > CHALLENGE_CHARS_MAX:
            return None
        return challenge

    def is_genuine(self, request: WebhookRequest, secrets: Secrets) -> bool:
        expected = _SIGNATURE + hmac.new(secrets.signing, request.body, hashlib.sha256).hexdigest().encode()
        return hmac.compare_digest(expected, request.headers.get(_SIGNATURE_HEADER, b"").strip().lower())

    def account_of(self, body: bytes) -> str | None:
        """The number, else the business account, that the first entry is about."""
        try:
            entry = decoded(body)["entry"][0]
        except (ValueError, LookupError, TypeError):
            return None
        for account in (_number_of(entry), _at(entry, "id")):
            if isinstance(account, str) and 0 < len(account) <= ACCOUNT_CHARS_MAX and account.isalnum():
                return account
        return None

    def parse(self, body: bytes, received_at_ms: int) -> Webhook:
        return parse(body, received_at_ms)

    def is_opt_out(self, code: str) -> bool:
        return code.isdecimal() and isinstance(action_of(int(code), None), Suppress)


SOURCE = CloudApiWebhooks()


def _number_of(entry: Any) -> Any:
    return _at(_at(_at(_at(_at(entry, "changes"), 0), "value"), "metadata"), "phone_number_id")


def _at(value: Any, key: str | int) -> Any:
    try:
        return value[key]
    except (LookupError, TypeError):
        return None


def parse(body: bytes, received_at_ms: int) -> Webhook:
    """Raises `NotAWebhook` for what is no JSON object with entries, and for nothing else."""
    try:
        envelope = decoded(body)
    except ValueError:
        raise NotAWebhook("the webhook's body is not JSON") from None
    if not isinstance(envelope, dict) or not isinstance(envelope.get("entry"), list):
        raise NotAWebhook("the webhook's body has no list of entries")
    statuses: list[Status] = []
    opt_outs: list[OptOut] = []
    odd = 0
    for value in _values(envelope):
        metadata = value.get("metadata")
        number_id = _text(metadata.get("phone_number_id")) if isinstance(metadata, dict) else ""
        for part in _objects(value.get("statuses")):
            status = _status(part, received_at_ms)
            if status is None:
                odd += 1
            else:
                statuses.append(status)
        opt_outs += [o for m in _objects(value.get("messages")) if (o := _stop_text(m, number_id))]
        opt_outs += [o for p in _objects(value.get("user_preferences")) if (o := _stop_choice(p, number_id))]
    return Webhook(SOURCE.provider, tuple(statuses), tuple(opt_outs), odd)


def _values(envelope: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for entry in _objects(envelope["entry"]):
        for change in _objects(entry.get("changes")):
            if isinstance(change.get("value"), dict):
                yield change["value"]


def _objects(found: object) -> list[dict[str, Any]]:
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _status(part: Mapping[str, Any], received_at_ms: int) -> Status | None:
    message_id, status = message_id_of(_text(part.get("id"))), _text(part.get("status"))
    if not message_id or not status:
        return None
    return Status(
        message_id,
        status.lower(),
        _time_ms(part.get("timestamp"), received_at_ms),
        _uuid(part.get("biz_opaque_callback_data")),
        tuple(_error(error) for error in _objects(part.get("errors"))[:ERRORS_MAX]),
    )


def _error(part: Mapping[str, Any]) -> StatusError:
    code = code_of(part.get("code"))
    return StatusError(
        "" if code is None else str(code),
        _text(part.get("title") or part.get("message"))[:TITLE_CHARS_MAX],
    )


def _stop_text(message: Mapping[str, Any], number_id: str) -> OptOut | None:
    texts = [
        _inner(message, "text", "body"),
        _inner(message, "button", "text"),
        _inner(message, "button", "payload"),
        _inner(message, "interactive", "button_reply", "title"),
        _inner(message, "interactive", "button_reply", "id"),
    ]
    word = next((w for text in texts if (w := _word(text)) in STOP_WORDS), None)
    sender = _text(message.get("from"))
    if word is None or not sender:
        return None
    reply_to = message_id_of(_inner(message, "context", "id"))
    return OptOut(sender, number_id, f"wrote {word.upper()}", reply_to or None)


def _stop_choice(preference: Mapping[str, Any], number_id: str) -> OptOut | None:
    wa_id = _text(preference.get("wa_id"))
    if _text(preference.get("value")).lower() != "stop" or not wa_id:
        return None
    return OptOut(wa_id, number_id, "stopped marketing messages at the provider")


def _word(text: str) -> str:
    """Without accents, punctuation and case: "Sair!" is "sair"."""
    if len(text) > TEXT_CHARS_MAX:
        return ""
    plain = unicodedata.normalize("NFKD", text).casefold()
    return "".join(character for character in plain if character.isalnum())


def _inner(part: object, *path: str) -> str:
    for key in path:
        part = part.get(key) if isinstance(part, Mapping) else None
    return _text(part)


def _text(found: object) -> str:
    return plain(found) if isinstance(found, str) else ""


def _time_ms(found: object, received_at_ms: int) -> int:
    digits = str(found) if isinstance(found, int | str) else ""
    return int(digits) * 1000 if re.fullmatch(r"\d{1,11}", digits) else received_at_ms


def _uuid(found: object) -> str | None:
    try:
        return str(UUID(_text(found)))
    except ValueError:
        return None
