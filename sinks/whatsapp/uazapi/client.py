"""UAZAPI (uazapiGO v2): from a rendered message to a request, from an answer to an outcome.

`track_id` takes duplicates, so it is not an idempotency key. But messages can be looked up by it: after a
call without a clear end, `find` proves that the message was sent, or proves nothing.
"""

from __future__ import annotations

import asyncio
import math
from typing import Any

import msgspec

from pipeline.campaigns.message import Rendered
from sinks.actions import Throttle
from sinks.connection import CannotConnect, Line, Lines, Reply
from sinks.http_api import REJECTED_UNREAD, host_of, is_header_token, retry_after_s
from sinks.outcomes import (
    Ambiguous,
    Outcome,
    Rejected,
    Sent,
    message_id_of,
    without_personal,
)
from sinks.provider import Answer, CredentialMissing
from sinks.tolerant_json import decoded, decoded_object
from sinks.unanswered import without_reply
from sinks.whatsapp.jids import people
from sinks.whatsapp.uazapi.errors import TABLE, UNLISTED, is_rejection
from sinks.whatsapp.uazapi.message_ids import message_id

TRACK_SOURCE = "quizstream"  # of our messages, among those of other systems at the same instance
DETAIL_CHARS_MAX = 200
FOUND_MAX = 5  # messages of one attempt: more than one would be a message too many
FAILED = frozenset({"error", "failed", "canceled", "cancelled"})  # states of a message that did not leave


class UazapiClient:
    """Calls of one instance, which is one number: its token selects it."""

    def __init__(self, number_id: str, token: str, lines: Lines) -> None:
        """Raises CredentialMissing for a token that cannot stand in a header."""
        if not is_header_token(token):
            raise CredentialMissing(f"number {number_id}: the token is empty or cannot stand in a header")
        self._lines = lines
        self._path = lines.endpoint.path
        self._fields = (
            f" HTTP/1.1\r\nHost: {host_of(lines.endpoint)}\r\ntoken: {token}\r\n"
            "Accept: application/json\r\nContent-Type: application/json\r\nContent-Length: "
        )

    async def send(
        self, line: Line, to: str, message: Rendered, attempt_id: str, *, not_after: float, timeout_s: float
    ) -> Outcome:
        """One call, at most once, on a line taken before the delivery was marked; the line is given back."""
        path = "/send/text" if message.kind == "text" else "/send/media"
        request = self._request(path, body_of(to, message, attempt_id))
        answer = await line.call(request, not_after=not_after, timeout_s=timeout_s)
        self._lines.give(line)
        return outcome_of(answer)

    async def find(self, attempt_id: str, *, timeout_s: float) -> Sent | None:
        """The attempt's message; None proves nothing, and is the answer to every failure."""
        body = msgspec.json.encode({"track_id": attempt_id, "limit": FOUND_MAX})
        request = self._request("/message/find", body)
        try:
            async with asyncio.timeout(timeout_s):
                line = await self._lines.take()
                answer = await line.call(request, not_after=math.inf, timeout_s=timeout_s)
        except (CannotConnect, TimeoutError):
            return None
        self._lines.give(line)
        return found_in(answer, attempt_id)

    def _request(self, path: str, body: bytes) -> bytes:
        return f"POST {self._path}{path}{self._fields}{len(body)}\r\n\r\n".encode() + body


def body_of(to: str, message: Rendered, attempt_id: str) -> bytes:
    """The request, JSON. `to` is E.164, with or without its plus."""
    content: dict[str, Any] = {"number": to.removeprefix("+")}
    if message.kind == "text":
        content |= {"text": message.text, "linkPreview": False}
    else:
        content |= {"type": message.kind, "file": message.image_url}
        if message.text is not None:
            content["text"] = message.text
    return msgspec.json.encode(
        {**content, "track_source": TRACK_SOURCE, "track_id": attempt_id, "async": False}
    )


def outcome_of(answer: Answer) -> Outcome:
    """Not sent: no byte written; an error of the table; any other `error` with a 4xx status; a status of
    `REJECTED_UNREAD`, with any body. All else proves nothing.
    """
    reply = without_reply(answer)
    if not isinstance(reply, Reply):
        return reply
    content = decoded_object(reply.body)
    text = error_text(content)
    if reply.status in (200, 201):
        accepted = _accepted(content) if text is None else None
        return accepted or Ambiguous(f"HTTP {reply.status} without a message that left")
    if reply.status >= 300 and (rejection := _rejection(reply, text)) is not None:
        return rejection
    signal = TABLE.signal_in(text or "", reply.status)
    hold = None if signal is None else signal.action
    return Ambiguous(f"HTTP {reply.status}: {_shown(text or 'no error text')}", hold=hold)


def found_in(answer: Answer, attempt_id: str) -> Sent | None:
    """The message of this very attempt: an API that ignores the filter would give any other."""
    if not isinstance(answer, Reply) or answer.status != 200:
        return None
    try:
        content = decoded(answer.body)
    except ValueError:
        return None
    messages = content.get("messages") if isinstance(content, dict) else content
    for message in messages if isinstance(messages, list) else ():
        is_it = isinstance(message, dict) and message.get("track_id") == attempt_id
        if is_it and (sent := _accepted(message)) is not None:
            return sent
    return None


def error_text(content: dict[str, Any]) -> str | None:
    """`{"error": text}`, `{"error": true, "message": text}`, or `{"message": text}` without an id."""
    error, message = content.get("error"), content.get("message")
    if isinstance(error, str) and error.strip():
        return error
    if isinstance(message, str) and (error or message_id(content) is None):
        return message
    return "an error without a text" if error else None


def _accepted(message: dict[str, Any]) -> Sent | None:
    found = message_id(message)
    if found is None or str(message.get("status") or "").lower() in FAILED:
        return None
    return Sent(message_id_of(found), people(message.get("chatid")))


def _rejection(reply: Reply, text: str | None) -> Rejected | Ambiguous | None:
    """A signal about the number proves nothing about the message, unless the call was rejected unread."""
    wait_s = retry_after_s(reply.headers)
    found = TABLE.listed(text, reply.status) if text is not None else None
    if found is not None:
        detail = f"{found.code}: {found.meaning}: {_shown(text or '')}"[:DETAIL_CHARS_MAX]
        return Rejected(found.action, found.code, detail, wait_s)
    is_error = (
        text is not None and is_rejection(reply.status) and bool(decoded_object(reply.body).get("error"))
    )
    if is_error or reply.status in REJECTED_UNREAD:
        signal = TABLE.signal_in(text or "", reply.status)
        if signal is not None:
            detail = f"{signal.code}: {signal.meaning}: {_shown(text or '')}"[:DETAIL_CHARS_MAX]
            if reply.status in REJECTED_UNREAD:
                return Rejected(signal.action, signal.code, detail, wait_s)
            return Ambiguous(detail, signal.code, signal.action)
    if reply.status in REJECTED_UNREAD:
        detail = f"HTTP {reply.status} without a listed error: the call was rejected before it was read"
        return Rejected(Throttle("number"), "", detail, wait_s)
    if is_error:
        return Rejected(UNLISTED, f"http-{reply.status}", _shown(text or ""), wait_s, listed=False)
    return None


def _shown(text: str) -> str:
    return without_personal(text[:DETAIL_CHARS_MAX])
