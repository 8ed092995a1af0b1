"""Meta's WhatsApp Cloud API: from a rendered message to a request, from an answer to an outcome.

The API has no idempotency key, so an outcome that cannot be proven is ambiguous: see `outcome_of`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from pipeline.campaigns.message import Rendered
from sinks.connection import Endpoint, Line, Lines, NoReply, NothingWritten, Reply
from sinks.outcomes import (
    CODE_CHARS_MAX,
    Ambiguous,
    NotCalled,
    NotWritten,
    Outcome,
    Rejected,
    Sent,
)
from sinks.provider import Answer, CredentialMissing
from sinks.whatsapp.meta_cloud.codes import action_of, is_listed, meaning_of

API_VERSION = "v23.0"  # where the number's base URL names none
DETAIL_CHARS_MAX = 200
USAGE_HEADER = "x-business-use-case-usage"
# Without the error envelope they prove nothing about this message, but the next call would end the same way.
SLOW_DOWN_STATUSES = frozenset({401, 403, 404, 429})


class CloudApi:
    """Calls of one sending number."""

    def __init__(self, number_id: str, token: str, lines: Lines) -> None:
        """Raises CredentialMissing for a token that cannot stand in a header."""
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise CredentialMissing(f"number {number_id}: the access token is empty or holds what it cannot")
        self.lines = lines
        endpoint = lines.endpoint
        path = endpoint.path or f"/{API_VERSION}"
        self._head = (
            f"POST {path}/{number_id}/messages HTTP/1.1\r\nHost: {_host(endpoint)}\r\n"
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
    """No byte written, a code listed as a refusal, or an unlisted code with a 4xx status and the whole error
    envelope: not sent. All else proves nothing.
    """
    match answer:
        case NothingWritten(detail, too_late=True):
            return NotCalled(detail)
        case NothingWritten(detail):
            return NotWritten(detail)
        case NoReply(detail):
            return Ambiguous(detail)
    content = _object(answer.body)
    error = content.get("error")
    if isinstance(error, dict):
        return _refusal(answer, error)
    messages = content.get("messages")
    if answer.status == 200 and isinstance(messages, list) and messages and isinstance(messages[0], dict):
        message_id = messages[0].get("id")
        if isinstance(message_id, str) and message_id:
            return Sent(message_id)
    return Ambiguous(
        f"HTTP {answer.status} with neither a message id nor an error code",
        slow_down=answer.status in SLOW_DOWN_STATUSES,
    )


def _refusal(reply: Reply, error: dict[str, Any]) -> Outcome:
    code = error.get("code")
    if not isinstance(code, int) or isinstance(code, bool):
        return Ambiguous(f"HTTP {reply.status} with an error without a code")
    data = error.get("error_data")
    said = data.get("details") if isinstance(data, dict) else None
    detail = f"{code} {meaning_of(code)}: {said or error.get('message') or ''}"[:DETAIL_CHARS_MAX]
    shown = str(code)[:CODE_CHARS_MAX]
    action = action_of(code, reply.status)
    if action is None or not (is_listed(code) or _is_envelope(error)):
        return Ambiguous(detail, shown)
    regain_s = _regain_s(reply.headers.get(USAGE_HEADER))
    return Rejected(action, shown, detail, regain_s, listed=is_listed(code))


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
    for entries in _object(usage.encode()).values():
        for entry in entries if isinstance(entries, list) else ():
            regain = entry.get("estimated_time_to_regain_access") if isinstance(entry, dict) else None
            if isinstance(regain, int | float) and not isinstance(regain, bool):
                minutes = max(minutes, regain)
    return min(minutes, 24 * 60) * 60


def _object(text: bytes) -> dict[str, Any]:
    try:
        content = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return content if isinstance(content, dict) else {}


def _host(endpoint: Endpoint) -> str:
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    return host if endpoint.port == (443 if endpoint.tls else 80) else f"{host}:{endpoint.port}"
