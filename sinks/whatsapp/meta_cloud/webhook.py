"""Webhooks of the WhatsApp Cloud API, verified by signature and read tolerantly: an odd part costs itself."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple
from uuid import UUID

from sinks.actions import Suppress
from sinks.outcomes import message_id_of, plain, without_personal
from sinks.webhook import (
    AccountOfNumber,
    Inbound,
    NotAWebhook,
    Notice,
    Secrets,
    Status,
    StatusError,
    Webhook,
    WebhookRequest,
)
from sinks.whatsapp.meta_cloud.codes import action_of
from sinks.whatsapp.meta_cloud.json_body import code_of, decoded
from sinks.whatsapp.meta_cloud.notices import account_of, digits, notice_of

IDS_MAX = 8  # of one person in one part
TEXT_CHARS_MAX = 4_096
ID_CHARS_MAX = 512
ERRORS_MAX = 5
ACCOUNT_CHARS_MAX = 64
CHALLENGE_CHARS_MAX = 256
TITLE_CHARS_MAX = 200


TEXTS = (
    ("text", "body"),
    ("button", "text"),
    ("button", "payload"),
    ("interactive", "button_reply", "title"),
    ("interactive", "button_reply", "id"),
    ("interactive", "list_reply", "title"),
    ("interactive", "list_reply", "id"),
    ("image", "caption"),
    ("video", "caption"),
    ("document", "caption"),
    ("edit", "message", "text", "body"),
    ("edit", "message", "image", "caption"),
    ("edit", "message", "video", "caption"),
    ("edit", "message", "document", "caption"),
)
MESSAGE_KINDS = frozenset(
    {
        *{"text", "button", "interactive", "image", "video", "audio", "document", "sticker", "location"},
        *{"contacts", "reaction", "order", "system", "unsupported", "request_welcome", "edit", "revoke"},
        *{"call_permission_reply", "nfm_reply"},
    }
)
MESSAGE_FIELDS = frozenset({"messages", "user_preferences", "user_id_update", ""})
MESSAGE_PARTS = ("statuses", "messages", "user_preferences", "user_id_update")
SYSTEM_KINDS = frozenset({"user_changed_number", "user_changed_user_id", "customer_identity_changed"})
CHANGED_IDS = ("wa_id", "new_wa_id", "user_id", "new_user_id", "previous_user_id", "customer")
CHANGES = ("previous", "current")
PERMISSIONS = frozenset({"accept", "reject"})

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


class _Beside(NamedTuple):
    """The `contacts` of a value, and whether it has one part (status, message or preference) only."""

    contacts: Sequence[tuple[str, ...]]
    alone: bool


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
    inbound: list[Inbound] = []
    odd = 0
    notices: list[Notice] = []
    accounts: dict[AccountOfNumber, None] = {}
    for field, value, entry in _values(envelope):
        metadata = value.get("metadata")
        metadata = metadata if isinstance(metadata, dict) else {}
        number_id = _text(metadata.get("phone_number_id"))
        account_id = account_of({}, _text(entry.get("id")))
        if number_id and account_id:
            phone = digits(metadata.get("display_phone_number"))
            accounts[AccountOfNumber(account_id, number_id[:ID_CHARS_MAX], phone)] = None
        contacts = [_ids(part, ("wa_id", "user_id")) for part in _objects(value.get("contacts"))]
        said = [_objects(value.get(key)) for key in MESSAGE_PARTS]
        alone = sum(map(len, said)) == 1
        for part in said[0]:
            if part.get("type") == "call":  # of a call, not of a message
                if field in MESSAGE_FIELDS:
                    notices.append(Notice("calls", at_ms=received_at_ms))
                continue
            status = _status(part, received_at_ms)
            if status is None:
                odd += 1
            else:
                statuses.append(status)
        for part in said[1]:
            inbound.append(_message(part, _Beside(contacts, alone), number_id, received_at_ms))
        for part in said[2]:
            inbound.append(_preference(part, _Beside(contacts, alone), number_id, received_at_ms))
        for part in said[3]:
            inbound.append(_change_of_id(part, _Beside(contacts, alone), number_id, received_at_ms))
        if field not in MESSAGE_FIELDS:
            at_ms = min(_time_ms(entry.get("time"), received_at_ms), received_at_ms)
            notices.append(notice_of(field, value, account_id, at_ms))
        notices += _errors(value, number_id, account_id, received_at_ms)
    return Webhook(SOURCE.provider, tuple(statuses), tuple(inbound), odd, tuple(notices), tuple(accounts))


def _values(envelope: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    for entry in _objects(envelope["entry"]):
        for change in _objects(entry.get("changes")):
            if isinstance(change.get("value"), dict):
                yield _text(change.get("field")), change["value"], entry


def _errors(
    value: Mapping[str, Any], number_id: str, account_id: str, received_at_ms: int
) -> Iterator[Notice]:
    """Errors that are of no message."""
    errors = map(_error, _objects(value.get("errors"))[:ERRORS_MAX])
    if codes := tuple(error.code for error in errors if error.code):
        yield Notice(
            "errors",
            codes=codes,
            number_id=number_id,
            at_ms=received_at_ms,
            account_id=account_id,
            detail=" ".join(codes),
            stored=True,
        )


def _objects(found: object) -> list[dict[str, Any]]:
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _status(part: Mapping[str, Any], received_at_ms: int) -> Status | None:
    message_id, status = message_id_of(_text(part.get("id"))), _text(part.get("status"))
    if not message_id or not status:
        return None
    return Status(
        message_id,
        status.lower(),
        min(_time_ms(part.get("timestamp"), received_at_ms), received_at_ms),
        _uuid(part.get("biz_opaque_callback_data")),
        tuple(_error(error) for error in _objects(part.get("errors"))[:ERRORS_MAX]),
        _ids(part, ("recipient_id", "recipient_user_id")),
    )


def _error(part: Mapping[str, Any]) -> StatusError:
    code = code_of(part.get("code"))
    return StatusError(
        "" if code is None else str(code),
        without_personal(_text(part.get("title") or part.get("message"))[:TITLE_CHARS_MAX]),
    )


def _message(message: Mapping[str, Any], beside: _Beside, number_id: str, received_at_ms: int) -> Inbound:
    told = _text(message.get("type"))
    if told == "interactive" and _inner(message, "interactive", "type") in MESSAGE_KINDS:
        told = _inner(message, "interactive", "type")
    kind = told if told in MESSAGE_KINDS else "other_message"
    ids = _with_contacts(_ids(message, ("from", "from_user_id")), beside)
    if kind == "system":
        system = message.get("system")
        change = _inner(message, "system", "type")
        kind = change if change in SYSTEM_KINDS else kind
        ids = _unique((*ids, *_ids(system if isinstance(system, dict) else {}, CHANGED_IDS)))
    texts = (_inner(message, *path)[:TEXT_CHARS_MAX] for path in TEXTS)
    return Inbound(
        ids,
        number_id,
        kind,
        min(_time_ms(message.get("timestamp"), received_at_ms), received_at_ms),
        _text(message.get("id"))[:ID_CHARS_MAX],
        tuple(text for text in texts if text),
        reason=_permission(message) if kind == "call_permission_reply" else "",
        reply_to=message_id_of(_inner(message, "context", "id")) or None,
    )


def _permission(message: Mapping[str, Any]) -> str:
    answer = _inner(message, "interactive", "call_permission_reply", "response")
    return f"call permission: {answer if answer in PERMISSIONS else 'unknown'}"


def _preference(
    preference: Mapping[str, Any], beside: _Beside, number_id: str, received_at_ms: int
) -> Inbound:
    value = _text(preference.get("value")).lower()
    choice: Literal["stop", "resume"] | None = None
    if value in ("stop", "resume"):
        choice = "stop" if value == "stop" else "resume"
    return Inbound(
        _with_contacts(_ids(preference, ("wa_id", "user_id")), beside),
        number_id,
        "preference",
        min(_time_ms(preference.get("timestamp"), received_at_ms), received_at_ms),
        choice=choice,
        reason="" if choice is None else f"chose at the provider: {choice} marketing messages",
    )


def _change_of_id(change: Mapping[str, Any], beside: _Beside, number_id: str, received_at_ms: int) -> Inbound:
    told = (_inner(change, key, which) for key in ("user_id", "parent_user_id") for which in CHANGES)
    ids = _unique((*_ids(change, ("wa_id",)), *(one.strip()[:ID_CHARS_MAX] for one in told)))
    return Inbound(
        _with_contacts(ids, beside),
        number_id,
        "user_changed_user_id",
        min(_time_ms(change.get("timestamp"), received_at_ms), received_at_ms),
    )


def _ids(part: Mapping[str, Any], keys: Sequence[str]) -> tuple[str, ...]:
    return _unique(_text(part.get(key)).strip()[:ID_CHARS_MAX] for key in keys)


def _with_contacts(ids: tuple[str, ...], beside: _Beside) -> tuple[str, ...]:
    """With the other ids of the same person beside the message.

    A lone contact is the sender's of a lone part; beside several parts it may be that of any one of them.
    """
    lone = beside.alone and len(beside.contacts) == 1
    theirs = [contact for contact in beside.contacts if set(contact) & set(ids) or lone]
    return _unique(one for some in (ids, *theirs) for one in some)


def _unique(ids: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one for one in ids if one))[:IDS_MAX]


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
