"""Twilio Programmable Messaging: from a rendered message to a request, from an answer to an outcome.

The API has no idempotency key and no query by an id of this side. The attempt id is in the address to which
it posts the statuses of the message.
"""

from __future__ import annotations

import re
from base64 import b64encode
from typing import Any
from urllib.parse import urlencode

from pipeline.campaigns.message import Rendered
from sinks.actions import Throttle
from sinks.connection import Line, Lines, Reply
from sinks.http_api import REJECTED_UNREAD, host_of, is_header_token, retry_after_s
from sinks.messaging.sms.codes import CODES, UNLISTED, action_of, is_rejection
from sinks.messaging.sms.webhook import ATTEMPT_PARAMETER, WEBHOOK_PATH
from sinks.outcomes import (
    Ambiguous,
    Outcome,
    Rejected,
    Sent,
    message_id_of,
    without_personal,
)
from sinks.provider import Answer, Callbacks, CredentialMissing
from sinks.tolerant_json import decoded_object
from sinks.unanswered import without_reply

VERSION = "2010-04-01"
DETAIL_CHARS_MAX = 200
ACCOUNT = re.compile(r"AC[0-9a-f]{32}", re.ASCII)
SERVICE = re.compile(r"MG[0-9a-f]{32}", re.ASCII)  # a messaging service, which chooses among its senders
MESSAGE = re.compile(r"(SM|MM)[0-9A-Za-z]{1,64}", re.ASCII)
SHORT_CODE_CHARS_MAX = 6
DID_NOT_LEAVE = frozenset({"failed", "undelivered", "canceled"})


class TwilioClient:
    """Calls of one sender: a phone, a short code, a name, or a messaging service."""

    def __init__(self, number_id: str, credential: str, lines: Lines, callbacks: Callbacks) -> None:
        """`credential`: `AC...:TOKEN`, or `AC...:SK...:SECRET` of an API key. Raises CredentialMissing."""
        account, _, login = credential.partition(":")
        if not ACCOUNT.fullmatch(account) or not login or not is_header_token(login):
            raise CredentialMissing(
                f"number {number_id}: the credential must be ACCOUNT_SID:TOKEN or ACCOUNT_SID:KEY_SID:SECRET"
            )
        user = login if ":" in login else f"{account}:{login}"
        self._lines = lines
        self._sender = sender_field(number_id)
        self._callback = (
            f"{callbacks.edge_url}{WEBHOOK_PATH}" if callbacks.edge_url and callbacks.secret else ""
        )
        self._head = (
            f"POST {lines.endpoint.path}/{VERSION}/Accounts/{account}/Messages.json HTTP/1.1\r\n"
            f"Host: {host_of(lines.endpoint)}\r\nAuthorization: Basic {b64encode(user.encode()).decode()}\r\n"
            "Accept: application/json\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: "
        )

    async def send(
        self, line: Line, to: str, message: Rendered, attempt_id: str, *, not_after: float, timeout_s: float
    ) -> Outcome:
        """One call, at most once, on a line taken before the delivery was marked; the line is given back."""
        body = self._body(to, message, attempt_id)
        request = f"{self._head}{len(body)}\r\n\r\n".encode() + body
        answer = await line.call(request, not_after=not_after, timeout_s=timeout_s)
        self._lines.give(line)
        return outcome_of(answer)

    async def find(self, attempt_id: str, *, timeout_s: float) -> Sent | None:
        return None

    def _body(self, to: str, message: Rendered, attempt_id: str) -> bytes:
        name, value = self._sender
        fields = {"To": to if to.startswith("+") else f"+{to}", name: value, "Body": message.text or ""}
        if self._callback:
            fields["StatusCallback"] = f"{self._callback}?{ATTEMPT_PARAMETER}={attempt_id}"
        return urlencode(fields).encode()


def sender_field(number_id: str) -> tuple[str, str]:
    """The field that names the sender, and its value. More digits than a short code has are a phone."""
    if SERVICE.fullmatch(number_id):
        return "MessagingServiceSid", number_id
    is_phone = number_id.isdecimal() and len(number_id) > SHORT_CODE_CHARS_MAX
    return "From", f"+{number_id}" if is_phone else number_id


def outcome_of(answer: Answer) -> Outcome:
    """Not sent: no byte written; an error with a listed code; any other error with a 4xx status; a status
    of `REJECTED_UNREAD`, with any body. All else proves nothing.
    """
    reply = without_reply(answer)
    if not isinstance(reply, Reply):
        return reply
    content = decoded_object(reply.body)
    if reply.status in (200, 201):
        accepted = _accepted(content)
        return accepted or Ambiguous(f"HTTP {reply.status} without a message that left")
    if reply.status >= 300 and (rejection := _rejection(reply, content)) is not None:
        return rejection
    return Ambiguous(f"HTTP {reply.status}: {_shown(content.get('message'))}")


def _accepted(content: dict[str, Any]) -> Sent | None:
    found = content.get("sid")
    if not isinstance(found, str) or not MESSAGE.fullmatch(found):
        return None
    return None if content.get("status") in DID_NOT_LEAVE else Sent(message_id_of(found))


def _rejection(reply: Reply, content: dict[str, Any]) -> Rejected | None:
    """The whole error envelope has `code` and `message`."""
    wait_s = retry_after_s(reply.headers)
    code, text = _code_of(content), content.get("message")
    listed = CODES.get(code)
    if listed is not None and isinstance(text, str):
        return Rejected(listed.action, code, f"{code}: {listed.meaning}", wait_s)
    if reply.status in REJECTED_UNREAD:
        detail = f"HTTP {reply.status} without a listed error: the call was rejected before it was read"
        return Rejected(Throttle("number"), "", detail, wait_s)
    if code and isinstance(text, str) and is_rejection(reply.status):
        assert action_of(code, reply.status) == UNLISTED
        return Rejected(UNLISTED, code, f"{code}: {_shown(text)}", wait_s, listed=False)
    return None


def _code_of(content: dict[str, Any]) -> str:
    code = content.get("code")
    is_code = isinstance(code, int) and not isinstance(code, bool) and 0 < code < 10**9
    return str(code) if is_code else ""


def _shown(text: object) -> str:
    return without_personal(text[:DETAIL_CHARS_MAX]) if isinstance(text, str) else "no error text"
