"""The parrot's API: `POST /send` with a JSON body, `GET /find` by attempt, errors by a word."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from pipeline.campaigns.message import Rendered
from sinks.actions import Action, FailRecipient, Throttle
from sinks.connection import CannotConnect, Line, Lines, NoReply, NothingWritten, Reply
from sinks.http_api import HttpProvider
from sinks.outcomes import Ambiguous, NotCalled, NotWritten, Outcome, Rejected, Sent
from sinks.provider import NO_CALLBACKS, Answer, Callbacks, Channel, Client, CredentialMissing, Limits

ACTIONS: dict[str, Action] = {"hates-crackers": FailRecipient(), "out-of-breath": Throttle("number")}


class ParrotClient:
    def __init__(self, number_id: str, token: str, lines: Lines) -> None:
        self._number_id = number_id
        self._lines = lines
        self._host = f"Host: {lines.endpoint.host}\r\nToken: {token}\r\n"

    async def send(
        self, line: Line, to: str, message: Rendered, attempt_id: str, *, not_after: float, timeout_s: float
    ) -> Outcome:
        body = msgspec.json.encode(
            {"from": self._number_id, "to": to, "text": message.text, "track": attempt_id}
        )
        head = f"POST /send HTTP/1.1\r\n{self._host}Content-Length: {len(body)}\r\n\r\n"
        answer = await line.call(head.encode() + body, not_after=not_after, timeout_s=timeout_s)
        self._lines.give(line)
        return PROVIDER.outcome_of(answer)

    async def find(self, attempt_id: str, *, timeout_s: float) -> Sent | None:
        try:
            line = await self._lines.take()
        except CannotConnect:
            return None
        request = f"GET /find?track={attempt_id} HTTP/1.1\r\n{self._host}\r\n"
        answer = await line.call(request.encode(), not_after=math.inf, timeout_s=timeout_s)
        self._lines.give(line)
        outcome = PROVIDER.outcome_of(answer)
        return outcome if isinstance(outcome, Sent) else None


class Parrot(HttpProvider):
    name = "parrot"
    channel: Channel = "whatsapp"
    can_find = True
    is_session = False
    limits = Limits(text_chars_max=40, caption_chars_max=0, parameter_chars_max=0, media_bytes_max={})

    def open(
        self, number_id: str, credential: str, lines: Lines, callbacks: Callbacks = NO_CALLBACKS
    ) -> Client:
        if not credential:
            raise CredentialMissing(f"number {number_id}: no token")
        return ParrotClient(number_id, credential, lines)

    def outcome_of(self, answer: Answer) -> Outcome:
        match answer:
            case NothingWritten(detail, too_late=True):
                return NotCalled(detail)
            case NothingWritten(detail):
                return NotWritten(detail)
            case NoReply(detail):
                return Ambiguous(detail)
            case Reply(status, body):
                content = _object(body)
        if status == 201 and isinstance(content.get("id"), str):
            return Sent(content["id"])
        code = content.get("squawk")
        action = self.action_of(str(code), status)
        if not isinstance(code, str) or action is None:
            return Ambiguous(f"HTTP {status}")
        return Rejected(action, code, f"squawked {code}", listed=code in ACTIONS)

    def action_of(self, code: str, http_status: int | None) -> Action | None:
        unlisted = FailRecipient() if http_status is not None and 400 <= http_status < 500 else None
        return ACTIONS.get(code, unlisted)


PROVIDER = Parrot()


def _object(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
