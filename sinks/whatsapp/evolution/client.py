"""Evolution API (v2): from a rendered message to a request, from an answer to an outcome.

The API has neither an idempotency key nor a field that returns: a call without a clear end stays ambiguous.
The header `x-request-id` has the attempt id, for the logs of the API and of proxies before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import msgspec

from pipeline.campaigns.message import Rendered
from sinks.actions import Throttle
from sinks.connection import Line, Lines, Reply
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
from sinks.tolerant_json import decoded_object
from sinks.unanswered import without_reply
from sinks.whatsapp.evolution.errors import NOT_ON_WHATSAPP, TABLE
from sinks.whatsapp.jids import people
from sinks.whatsapp.loose_values import text_at
from sinks.whatsapp.session_signals import PAUSE

DETAIL_CHARS_MAX = 200
TEXTS_MAX = 10  # of one error
OF_GATEWAYS = frozenset({502, 503, 504})  # statuses of proxies before the API


class EvolutionClient:
    """Calls of one instance, whose name is the id of the number."""

    def __init__(self, number_id: str, api_key: str, lines: Lines) -> None:
        """Raises CredentialMissing for a key that cannot stand in a header."""
        if not is_header_token(api_key):
            raise CredentialMissing(f"number {number_id}: the API key is empty or cannot stand in a header")
        self._lines = lines
        self._path = lines.endpoint.path
        self._instance = quote(number_id, safe="")
        self._fields = (
            f" HTTP/1.1\r\nHost: {host_of(lines.endpoint)}\r\napikey: {api_key}\r\n"
            "Content-Type: application/json\r\nx-request-id: "
        )

    async def send(
        self, line: Line, to: str, message: Rendered, attempt_id: str, *, not_after: float, timeout_s: float
    ) -> Outcome:
        """One call, at most once, on a line taken before the delivery was marked; the line is given back."""
        kind = "sendText" if message.kind == "text" else "sendMedia"
        body = body_of(to, message)
        head = f"POST {self._path}/message/{kind}/{self._instance}{self._fields}{attempt_id}\r\n"
        request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        answer = await line.call(request, not_after=not_after, timeout_s=timeout_s)
        self._lines.give(line)
        return outcome_of(answer)

    async def find(self, attempt_id: str, *, timeout_s: float) -> Sent | None:
        """Always None: the API has no query by an id of this side."""
        return None


def body_of(to: str, message: Rendered) -> bytes:
    """The request, JSON. `to` is E.164, with or without its plus."""
    content: dict[str, Any] = {"number": to.removeprefix("+")}
    if message.kind == "text":
        content |= {"text": message.text, "linkPreview": False}
    else:
        content |= {"mediatype": message.kind, "media": message.image_url}
        if message.text is not None:
            content["caption"] = message.text
    return msgspec.json.encode(content)


def outcome_of(answer: Answer) -> Outcome:
    """Not sent: no byte written; an error of the table; a status of `REJECTED_UNREAD`, with any body. All
    else proves nothing.
    """
    reply = without_reply(answer)
    if not isinstance(reply, Reply):
        return reply
    content = decoded_object(reply.body)
    if reply.status in (200, 201):
        return _accepted(content) or Ambiguous(f"HTTP {reply.status} without a message that left")
    texts = list(error_texts(content))
    if reply.status >= 300 and (rejection := _rejection(reply, texts)) is not None:
        return rejection
    own = _is_own_error(reply, content)
    signals = (TABLE.signal_in(text, reply.status) for text in texts)
    hold = next((each.action for each in signals if each is not None and (own or each.action == PAUSE)), None)
    return Ambiguous(f"HTTP {reply.status}: {_shown(texts[0] if texts else 'no error text')}", hold=hold)


def error_texts(content: dict[str, Any]) -> Iterator[str]:
    """The texts of `{"response": {"message": [...]}}` or `{"message": ...}`, at most `TEXTS_MAX`."""
    response = content.get("response")
    left = [response.get("message") if isinstance(response, dict) else content.get("message")]
    count = 0
    while left and count < TEXTS_MAX:
        found = left.pop(0)
        if isinstance(found, list):
            left += found[:TEXTS_MAX]
        elif isinstance(found, dict) and found.get("exists") is False:
            count += 1
            yield NOT_ON_WHATSAPP
        elif isinstance(found, str) and found.strip():
            count += 1
            yield found


def _is_own_error(reply: Reply, content: dict[str, Any]) -> bool:
    """Whether the API wrote it, with `status` and `response`: a proxy's text is not about the number."""
    if reply.status in OF_GATEWAYS or content.get("status") != reply.status:
        return False
    return isinstance(content.get("response"), dict)


def _accepted(content: dict[str, Any]) -> Sent | None:
    found = text_at(content, "key", "id")
    if not found or text_at(content, "status").upper() == "ERROR":
        return None
    return Sent(message_id_of(found), people(text_at(content, "key", "remoteJid")))


def _rejection(reply: Reply, texts: list[str]) -> Rejected | None:
    wait_s = retry_after_s(reply.headers)
    entries = [(text, entry) for text in texts if (entry := TABLE.listed(text, None)) is not None]
    if not entries and texts and (by_status := TABLE.listed("", reply.status)) is not None:
        entries = [(texts[0], by_status)]
    if entries:
        text, entry = entries[0]
        detail = f"{entry.code}: {entry.meaning}: {_shown(text)}"[:DETAIL_CHARS_MAX]
        return Rejected(entry.action, entry.code, detail, wait_s)
    if reply.status in REJECTED_UNREAD:
        detail = f"HTTP {reply.status} without a listed error: the call was rejected before it was read"
        return Rejected(Throttle("number"), "", detail, wait_s)
    return None


def _shown(text: str) -> str:
    return without_personal(text[:DETAIL_CHARS_MAX])
