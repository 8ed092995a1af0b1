"""Simulated providers with sessions: calls judged, written down and answered, in that order.

They share record, rules and behaviour with the simulated Cloud API: a line of the record has the provider.
"""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import msgspec

from ops.audit.provider_record import Call
from ops.simulated_instances import number_of
from ops.simulator.common.bans import BanRules
from ops.simulator.common.limits import NumberRate
from ops.simulator.common.misbehaviour import Answer, answer_of
from ops.simulator.common.rules import Rule
from ops.simulator.common.session_answers import (
    Message,
    NumberWebhooks,
    Refusal,
    Request,
    SessionWebhooks,
    Shared,
    Words,
)

MESSAGES_KEPT_MAX = 200_000  # that can be found
PAIRING_CODE_S = 15.0  # then it expires


class Instances:
    """Of one provider: every instance is one number, selected by its token. `now` is the wall clock, in s."""

    def __init__(
        self,
        words: Words,
        shared: Shared,
        token: str,
        webhooks: SessionWebhooks | None,
        rng: random.Random,
        now: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self._words = words
        self._shared = shared
        self.token = token
        self.webhooks = webhooks
        self._rng = rng
        self._now = now
        self._clock = clock
        self._rate = NumberRate(window_s=60.0)
        self.bans = BanRules()
        self._lost: set[str] = set()  # numbers without a session
        self._pairing: dict[str, float] = {}  # when it was begun
        self._messages: OrderedDict[str, list[tuple[float, Message]]] = OrderedDict()  # by attempt
        if webhooks is not None:
            shared.posters.append(webhooks)
        self._remember()

    def _remember(self) -> None:
        """Messages outlive a restart, as the record does."""
        record, position = self._shared.record, 0
        while position < record.calls:
            for line in record.page(position):
                position += 1
                call = msgspec.json.decode(line, type=Call)
                if call.provider == self._words.name and call.wamid is not None:
                    content: dict[str, Any] = {}
                    known = self._words.message_of(call.number, call.to, call.wamid, call.attempt_id, content)
                    self._keep(call.at, known)

    def number_of(self, token: str) -> str | None:
        return number_of(self.token, token)

    def hear(self, number: str, sender: str, text: str) -> str | None:
        """A person writes to the number; its id, where webhooks are on."""
        return self.webhooks.inbound(number, sender, text) if self._reports() and self.webhooks else None

    def set_session(self, number: str, connected: bool, reason: str) -> None:
        (self._lost.discard if connected else self._lost.add)(number)
        if self.webhooks is not None and self._reports():
            self.webhooks.connection(number, connected, reason)

    def is_connected(self, number: str) -> bool:
        return number not in self._lost

    def pairing_code(self, number: str, *, begins: bool) -> str | None:
        """Of a lost session whose pairing was begun, another one every `PAIRING_CODE_S`; else None."""
        if number not in self._lost:
            self._pairing.pop(number, None)
            return None
        now = self._clock()
        if begins:
            self._pairing.setdefault(number, now)
        begun = self._pairing.get(number)
        return None if begun is None else f"2@{number},{int((now - begun) // PAIRING_CODE_S)}"

    def without_instance(self, token: str) -> Answer:
        refusal = self._words.bad_token if token else self._words.no_token
        return Answer(refusal.status, refusal.body)

    async def register(self, token: str, url: str) -> Answer:
        """The instance posts its webhooks to this address from now on."""
        number = self.number_of(token) if token else ""
        if not number or not url:
            refusal = self._words.no_token if not token else self._words.bad_token
            return Answer(refusal.status, refusal.body)
        if isinstance(self.webhooks, NumberWebhooks):
            self.webhooks.addresses.register(number, url)
        return Answer(self._words.accepted_status, msgspec.json.encode({"enabled": True, "url": url}))

    async def send(self, token: str, kind: str, attempt_id: str | None, body: bytes) -> Answer:
        """One call that sends. Its line is in the record before this returns."""
        number = self.number_of(token) or ""
        request = self._judge(token, number, kind, body)
        to = request.to if isinstance(request, Request) else self._words.recipient_in(body)
        rule = self._shared.rules.decide(number, to, body)
        if rule is not None and (isinstance(request, Request) or rule.do != "answer"):
            return await self._misbehave(rule, number, to, attempt_id, request)
        if isinstance(request, Refusal):
            self._write(number, to, attempt_id, None, request.status, request.text, None)
            return Answer(request.status, request.body)
        message = self._accept(number, attempt_id, request, None, None)
        if (delay_s := self._shared.behaviour.reply_delay_s) > 0:
            await asyncio.sleep(self._rng.uniform(0, delay_s))
        return Answer(self._words.accepted_status, self._words.accepted(message))

    def found(self, number: str, attempt_id: str) -> list[dict[str, Any]]:
        """Messages of this number by the attempt; some time after they were sent."""
        found_from = self._now() - self._shared.behaviour.find_after_s
        kept = self._messages.get(attempt_id, [])
        return [each.shown for at, each in kept if each.number == number and at <= found_from]

    def _judge(self, token: str, number: str, kind: str, body: bytes) -> Request | Refusal:
        if not token:
            return self._words.no_token
        if not number:
            return self._words.bad_token
        if number in self._lost:
            return self._words.session_lost
        request = self._words.request_of(kind, body)
        if isinstance(request, Refusal):
            return request
        most = self._shared.behaviour.session_messages_per_minute
        if most is not None and not self._rate.admit(number, self._clock(), most):
            return self._words.too_many
        return request

    async def _misbehave(
        self, rule: Rule, number: str, to: str, attempt_id: str | None, request: Request | Refusal
    ) -> Answer:
        words = self._words
        refusal = words.refusal_of(rule.code, rule.status, to)
        if isinstance(request, Request) and (rule.taken or rule.do == "answer"):
            message = self._accept(number, attempt_id, request, rule, refusal)
        else:
            message = words.message_of(number, to, words.message_id_of("0", 0), None, {})
            answered = rule.do in ("error", "garbage", "raw")
            code = refusal.text if rule.do == "error" else words.error_in(rule.body)
            status = _status_of(rule, refusal) if answered else None
            self._write(number, to, attempt_id, None, status, code, rule.name or rule.do)
        if rule.delay_s > 0:
            await asyncio.sleep(rule.delay_s)
        return answer_of(rule, words.accepted(message), lambda: Answer(refusal.status, refusal.body))

    def _accept(
        self,
        number: str,
        attempt_id: str | None,
        request: Request,
        rule: Rule | None,
        refusal: Refusal | None,
    ) -> Message:
        """Puts the message on its way: the attempt may be that of an earlier one."""
        message_id = self._words.message_id_of(number, self._shared.record.taken[number] + 1)
        status: int | None = self._words.accepted_status
        code = None
        if rule is not None and rule.do != "answer" and refusal is not None:
            status = _status_of(rule, refusal)
            code = refusal.text if rule.do == "error" else None
        name = None if rule is None else rule.name or rule.do
        self._write(number, request.to, attempt_id, message_id, status, code, name)
        message = self._words.message_of(number, request.to, message_id, attempt_id, request.content)
        self._keep(self._now(), message)
        banned = self.bans.sent(number, self._clock(), self._shared.behaviour.ban_strictness)
        if banned is not None and number not in self._lost:
            self.set_session(number, False, f"403: banned for {banned}")
        self._shared.last_messages.append({"number": number, "wamid": message_id, "request": request.content})
        if self.webhooks is not None and self._reports():
            statuses = rule.statuses if rule is not None else None
            self.webhooks.statuses_of(self._shared.behaviour, message, statuses)
        return message

    def _keep(self, at: float, message: Message) -> None:
        if message.attempt_id is None:
            return
        self._messages.setdefault(message.attempt_id, []).append((at, message))
        while len(self._messages) > MESSAGES_KEPT_MAX:
            self._messages.popitem(last=False)

    def _reports(self) -> bool:
        return self._shared.behaviour.webhooks

    def _write(
        self,
        number: str,
        to: str,
        attempt_id: str | None,
        message_id: str | None,
        status: int | None,
        code: str | None,
        rule: str | None,
    ) -> None:
        name = self._words.name
        call = Call(self._now(), number, to, attempt_id or None, message_id, status, code, rule, name)
        self._shared.record.append(call)


def _status_of(rule: Rule, refusal: Refusal) -> int | None:
    """Of an error the status that belongs to its text; of another answer what the rule has."""
    return refusal.status if rule.do == "error" else rule.status


def object_of(body: bytes) -> dict[str, Any]:
    """The JSON object; empty for what is none."""
    try:
        content = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return content if isinstance(content, dict) else {}


def text_in(body: bytes, name: str) -> str:
    """The text of a field; empty where there is none."""
    found = object_of(body).get(name)
    return found if isinstance(found, str) else ""
