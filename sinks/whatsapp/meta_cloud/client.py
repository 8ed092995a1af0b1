"""Meta's WhatsApp Cloud API: from a rendered message to a request, from an answer to an outcome.

The API has no idempotency key, so an outcome that cannot be proven is ambiguous: see `outcome_of`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from pipeline.campaigns.message import Rendered
from sinks.actions import Throttle
from sinks.connection import Line, Lines, Reply
from sinks.http_api import REJECTED_UNREAD, RETRY_AFTER_MAX_S, host_of, is_header_token, retry_after_s
from sinks.outcomes import (
    CODE_CHARS_MAX,
    Ambiguous,
    Outcome,
    Rejected,
    Sent,
    message_id_of,
    plain,
    without_personal,
)
from sinks.provider import Answer, CredentialMissing
from sinks.tolerant_json import decoded_object
from sinks.unanswered import without_reply
from sinks.whatsapp.meta_cloud.code_forms import code_of
from sinks.whatsapp.meta_cloud.codes import action_of, is_listed, meaning_of

API_VERSION = "v23.0"  # where the number's base URL names none
DETAIL_CHARS_MAX = 200
USAGE_HEADER = "x-business-use-case-usage"
RECIPIENT_CHARS_MAX = 512


class CloudApi:
    """Calls of one sending number."""

    def __init__(self, number_id: str, token: str, lines: Lines) -> None:
        """Raises CredentialMissing for a token that cannot stand in a header."""
        if not is_header_token(token):
            raise CredentialMissing(f"number {number_id}: the access token is empty or holds what it cannot")
        self.lines = lines
        endpoint = lines.endpoint
        path = endpoint.path or f"/{API_VERSION}"
        self._head = (
            f"POST {path}/{number_id}/messages HTTP/1.1\r\nHost: {host_of(endpoint)}\r\n"
            f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: "
        ).encode()

    async def send(
        self, line: Line, to: str, message: Rendered, attempt_id: str, *, not_after: float, timeout_s: float
    ) -> Outcome:
        """One call, at most once, on a line taken before the delivery was marked; the line is given back."""
        body = body_of(to, message, attempt_id)
        request = b"%b%d\r\n\r\n%b" % (self._head, len(body), body)
        answer = await line.call(request, not_after=not_after, timeout_s=timeout_s)
        self.lines.give(line)
        return outcome_of(answer)

    async def find(self, attempt_id: str, *, timeout_s: float) -> Sent | None:
        """Always None: the API has no query for a message."""
        return None


def body_of(to: str, message: Rendered, attempt_id: str) -> bytes:
    """The request, JSON. `to` is E.164, with or without its plus; `attempt_id` returns in every status."""
    content: dict[str, Any]
    match message.kind:
        case "template":
            content = {"name": message.template, "language": {"code": message.language}}
            if message.parameters:
                parameters = [{"type": "text", "text": value} for value in message.parameters]
                content["components"] = [{"type": "body", "parameters": parameters}]
        case "image":
            content = {"link": message.image_url}
            if message.text is not None:
                content["caption"] = message.text
        case _:
            content = {"body": message.text, "preview_url": False}
    return msgspec.json.encode(
        {
            "messaging_product": "whatsapp",
            "recipient_type": "individual",
            "to": to.removeprefix("+"),
            "type": message.kind,
            message.kind: content,
            "biz_opaque_callback_data": attempt_id,
        }
    )


def outcome_of(answer: Answer) -> Outcome:
    """Not sent: no byte written; a code that is listed as a rejection; any code with a 4xx status and the
    whole error envelope; a status of `REJECTED_UNREAD`, with any body. All else proves nothing.
    """
    reply = without_reply(answer)
    if not isinstance(reply, Reply):
        return reply
    content = decoded_object(reply.body)
    error = content.get("error")
    if isinstance(error, dict) and (rejection := _rejection(reply, error)) is not None:
        return rejection
    if reply.status in REJECTED_UNREAD:
        detail = f"HTTP {reply.status} without an error code: the call was rejected before it was read"
        return Rejected(Throttle("number"), "", detail, retry_after_s(reply.headers))
    if isinstance(error, dict):
        return _ambiguous(reply, error)
    messages = content.get("messages")
    if reply.status == 200 and isinstance(messages, list) and messages and isinstance(messages[0], dict):
        message_id = messages[0].get("id")
        if isinstance(message_id, str) and (stored := message_id_of(message_id)):
            return Sent(stored, _recipients(content.get("contacts")))
    return Ambiguous(f"HTTP {reply.status} with neither a message id nor an error code")


def _recipients(contacts: object) -> tuple[str, ...]:
    """Of the one recipient of a call."""
    contact = contacts[0] if isinstance(contacts, list) and len(contacts) == 1 else None
    if not isinstance(contact, dict):
        return ()
    ids = (contact.get(key) for key in ("wa_id", "user_id"))
    return tuple(plain(one)[:RECIPIENT_CHARS_MAX] for one in ids if isinstance(one, str) and one)


def _rejection(reply: Reply, error: dict[str, Any]) -> Rejected | None:
    code = code_of(error.get("code"))
    action = None if code is None else action_of(code, reply.status)
    if code is None or action is None or not (_is_rejection(code) or _is_envelope(error)):
        return None
    wait_s = max(_regain_s(reply.headers.get(USAGE_HEADER)), retry_after_s(reply.headers))
    return Rejected(action, _shown(code), _detail(code, error), wait_s, listed=is_listed(code))


def _ambiguous(reply: Reply, error: dict[str, Any]) -> Ambiguous:
    code = code_of(error.get("code"))
    if code is None:
        return Ambiguous(f"HTTP {reply.status} with an error without a code")
    return Ambiguous(_detail(code, error), _shown(code))


def _detail(code: int, error: dict[str, Any]) -> str:
    data = error.get("error_data")
    said = data.get("details") if isinstance(data, dict) else None
    said = str(said or error.get("message") or "")[:DETAIL_CHARS_MAX]
    return f"{_shown(code)} {meaning_of(code)}: {without_personal(said)}"[:DETAIL_CHARS_MAX]


def _shown(code: int) -> str:
    return str(code)[:CODE_CHARS_MAX]


def _is_rejection(code: int) -> bool:
    """True for a code that is listed as a rejection, with any HTTP status."""
    return action_of(code, None) is not None


def _is_envelope(error: dict[str, Any]) -> bool:
    """True for the API's own error: a gateway between it and this side may answer with something like it."""
    return isinstance(error.get("type"), str) and isinstance(error.get("message"), str)


def _regain_s(usage: str | None) -> float:
    """Seconds after which the provider says that access returns: the longest of the header's, given in
    minutes.
    """
    if usage is None:
        return 0.0
    minutes = 0.0
    for entries in decoded_object(usage.encode()).values():
        for entry in entries if isinstance(entries, list) else ():
            regain = entry.get("estimated_time_to_regain_access") if isinstance(entry, dict) else None
            if isinstance(regain, int | float) and not isinstance(regain, bool):
                minutes = max(minutes, regain)
    return min(minutes * 60, RETRY_AFTER_MAX_S)
