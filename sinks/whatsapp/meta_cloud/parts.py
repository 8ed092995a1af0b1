"""One status, message or preference of a webhook, read tolerantly: what is odd in it is left out. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple
from uuid import UUID

from sinks.outcomes import message_id_of, plain, without_personal
from sinks.webhook import Inbound, Status, StatusError
from sinks.whatsapp.meta_cloud.code_forms import code_of

IDS_MAX = 8  # of one person in one part
TEXT_CHARS_MAX = 4_096
ID_CHARS_MAX = 512
ERRORS_MAX = 5
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
        *{"text", "button", "interactive", "image", "video", "audio", "voice", "document", "sticker"},
        *{"location"},
        *{"contacts", "reaction", "order", "system", "unsupported", "request_welcome", "edit", "revoke"},
        *{"call_permission_reply", "nfm_reply"},
    }
)
SYSTEM_KINDS = frozenset({"user_changed_number", "user_changed_user_id", "customer_identity_changed"})
CHANGED_IDS = (
    *("wa_id", "new_wa_id", "user_id", "new_user_id", "previous_user_id", "customer"),
    *("parent_user_id", "previous_parent_user_id"),
)
CHANGES = ("previous", "current")
PERMISSIONS = frozenset({"accept", "reject"})
SENDER_IDS = ("from", "from_user_id", "from_parent_user_id")
CONTACT_IDS = ("wa_id", "user_id", "parent_user_id")
RECIPIENT_IDS = (  # the last two: one id that references spell in both ways
    *("recipient_id", "recipient_user_id"),
    *("recipient_parent_user_id", "parent_recipient_user_id"),
)


class Beside(NamedTuple):
    """The `contacts` of a value, and whether it has one part (status, message or preference) only."""

    contacts: Sequence[tuple[str, ...]]
    alone: bool


NOBODY_BESIDE = Beside((), alone=False)


def objects(found: object) -> list[dict[str, Any]]:
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def status_of(part: Mapping[str, Any], received_at_ms: int) -> Status | None:
    message_id, status = message_id_of(text_of(part.get("id"))), text_of(part.get("status"))
    if not message_id or not status:
        return None
    return Status(
        message_id,
        status.lower(),
        min(time_ms(part.get("timestamp"), received_at_ms), received_at_ms),
        _uuid(part.get("biz_opaque_callback_data")),
        tuple(error_of(error) for error in objects(part.get("errors"))[:ERRORS_MAX]),
        () if part.get("recipient_type") == "group" else ids_of(part, RECIPIENT_IDS),
    )


def error_of(part: Mapping[str, Any]) -> StatusError:
    code = code_of(part.get("code"))
    return StatusError(
        "" if code is None else str(code),
        without_personal(text_of(part.get("title") or part.get("message"))[:TITLE_CHARS_MAX]),
    )


def message_of(message: Mapping[str, Any], beside: Beside, number_id: str, received_at_ms: int) -> Inbound:
    told = text_of(message.get("type")) or next((key for key in message if key in MESSAGE_KINDS), "")
    if told == "interactive" and _inner(message, "interactive", "type") in MESSAGE_KINDS:
        told = _inner(message, "interactive", "type")
    kind = told if told in MESSAGE_KINDS else "other_message"
    ids = _with_contacts(ids_of(message, SENDER_IDS), beside)
    if kind == "system":
        system = message.get("system")
        change = _inner(message, "system", "type")
        kind = change if change in SYSTEM_KINDS else kind
        ids = _unique((*ids, *ids_of(system if isinstance(system, dict) else {}, CHANGED_IDS)))
    texts = (_inner(message, *path)[:TEXT_CHARS_MAX] for path in TEXTS)
    return Inbound(
        ids,
        number_id,
        kind,
        min(time_ms(message.get("timestamp"), received_at_ms), received_at_ms),
        text_of(message.get("id"))[:ID_CHARS_MAX],
        tuple(text for text in texts if text),
        reason=_permission(message) if kind == "call_permission_reply" else "",
        reply_to=message_id_of(_inner(message, "context", "id")) or None,
    )


def _permission(message: Mapping[str, Any]) -> str:
    answer = _inner(message, "interactive", "call_permission_reply", "response")
    return f"call permission: {answer if answer in PERMISSIONS else 'unknown'}"


def preference_of(
    preference: Mapping[str, Any], beside: Beside, number_id: str, received_at_ms: int
) -> Inbound:
    value = text_of(preference.get("value")).lower()
    choice: Literal["stop", "resume"] | None = None
    if value in ("stop", "resume"):
        choice = "stop" if value == "stop" else "resume"
    return Inbound(
        _with_contacts(ids_of(preference, CONTACT_IDS), beside),
        number_id,
        "preference",
        min(time_ms(preference.get("timestamp"), received_at_ms), received_at_ms),
        choice=choice,
        reason="" if choice is None else f"chose at the provider: {choice} marketing messages",
    )


def change_of_id(change: Mapping[str, Any], beside: Beside, number_id: str, received_at_ms: int) -> Inbound:
    told = (_inner(change, key, which) for key in ("user_id", "parent_user_id") for which in CHANGES)
    ids = _unique((*ids_of(change, ("wa_id",)), *(one.strip()[:ID_CHARS_MAX] for one in told)))
    return Inbound(
        _with_contacts(ids, beside),
        number_id,
        "user_changed_user_id",
        min(time_ms(change.get("timestamp"), received_at_ms), received_at_ms),
    )


def ids_of(part: Mapping[str, Any], keys: Sequence[str]) -> tuple[str, ...]:
    return _unique(text_of(part.get(key)).strip()[:ID_CHARS_MAX] for key in keys)


def _with_contacts(ids: tuple[str, ...], beside: Beside) -> tuple[str, ...]:
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
    return text_of(part)


def text_of(found: object) -> str:
    return plain(found) if isinstance(found, str) else ""


def time_ms(found: object, received_at_ms: int) -> int:
    return int(str(found)) * 1000 if is_time(found) else received_at_ms


def is_time(found: object) -> bool:
    told = str(found) if isinstance(found, int | str) and not isinstance(found, bool) else ""
    return re.fullmatch(r"[0-9]{1,11}", told) is not None


def _uuid(found: object) -> str | None:
    try:
        return str(UUID(text_of(found)))
    except ValueError:
        return None
