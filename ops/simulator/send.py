"""The send call of the simulated Cloud API: judged, written down, answered, in that order."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from ops.audit.provider_record import Call
from ops.simulator import answers
from ops.simulator.answers import Refusal
from ops.simulator.catalogue import Templates
from ops.simulator.checks import Request, check
from ops.simulator.common import numbers
from ops.simulator.common.limits import NumberRate, PairRate, PortfolioLimit, ServiceWindows
from ops.simulator.common.misbehaviour import Answer, answer_of
from ops.simulator.common.numbers import Behaviour
from ops.simulator.common.posting import Posting
from ops.simulator.common.record import Record
from ops.simulator.common.rules import Rule, Rules
from ops.simulator.webhooks import Webhooks


class Provider:
    """All state of the simulated provider. `now` is the wall clock, in seconds."""

    def __init__(
        self,
        token: str,
        record: Record,
        webhooks: Webhooks,
        rng: random.Random,
        now: Callable[[], float],
        clock: Callable[[], float],
        templates: Templates,
    ) -> None:
        self._token = token
        self.record = record
        self.webhooks = webhooks
        self.posters: list[Posting] = [webhooks]  # of every simulated provider
        self._rng = rng
        self._now = now
        self._clock = clock
        self.behaviour = Behaviour()
        self.rules = Rules(rng)
        self.templates = templates
        self.last_messages: deque[dict[str, Any]] = deque(maxlen=numbers.BODIES_KEPT_MAX)
        self._number_rate = NumberRate()
        self._pair_rate = PairRate(numbers.PAIRS_KEPT_MAX)
        self._windows = ServiceWindows(numbers.WINDOW_S, numbers.WINDOWS_KEPT_MAX)
        self._portfolio = PortfolioLimit(numbers.PORTFOLIO_WINDOW_S)

    def hear(self, number: str, sender: str, text: str) -> str | None:
        """A person writes to the number, which opens their window; its id, where webhooks are on."""
        self._windows.wrote(number, sender.removeprefix("+"), self._clock())
        return self.webhooks.inbound(number, sender, text) if self.behaviour.webhooks else None

    async def send(self, number: str, authorization: str, body: bytes) -> Answer:
        """One call. Its line is in the record before this returns; the answer is a function of it."""
        request = self._judge(number, authorization, body)
        to = request.to if isinstance(request, Request) else _recipient(body)
        rule = self.rules.decide(number, to, body)
        if rule is not None and (isinstance(request, Request) or rule.do != "answer"):
            return await self._misbehave(rule, number, to, request, body)
        if isinstance(request, Refusal):
            self._write(number, to, _callback(body), None, request.status, request.code, None)
            return self._refuse(request)
        wamid = self._accept(number, request, None)
        if self.behaviour.reply_delay_s > 0:
            await asyncio.sleep(self._rng.uniform(0, self.behaviour.reply_delay_s))
        return Answer(200, answers.success_body(request.to, wamid))

    async def _misbehave(
        self, rule: Rule, number: str, to: str, request: Request | Refusal, body: bytes
    ) -> Answer:
        name = rule.name or rule.do
        wamid = None
        if isinstance(request, Request) and (rule.taken or rule.do == "answer"):
            wamid = self._accept(number, request, rule)
            success = answers.success_body(to, wamid)
        else:
            refusal = answers.refusal_of(rule.code, rule.status)
            answered = rule.do in ("error", "garbage", "raw")
            self._write(
                number,
                to,
                _callback(body),
                None,
                (rule.status or refusal.status) if answered else None,
                rule.code if rule.do == "error" else answers.code_in(rule.body),
                name,
            )
            success = answers.success_body(to, "wamid.never")
        if rule.delay_s > 0:
            await asyncio.sleep(rule.delay_s)
        return answer_of(
            rule,
            success,
            lambda: self._refuse(answers.refusal_of(rule.code, rule.status), rule.retry_after_min),
        )

    def _judge(self, number: str, authorization: str, body: bytes) -> Request | Refusal:
        if not authorization:
            return answers.NO_TOKEN
        if authorization != f"Bearer {self._token}":
            return answers.BAD_TOKEN
        request = check(body, self.templates)
        if isinstance(request, Refusal):
            return request
        now, rules = self._clock(), self.behaviour
        in_window = self._windows.is_open(number, request.to, now)
        if request.free and not in_window:
            return answers.OUTSIDE_WINDOW
        if not self._number_rate.admit(number, now, rules.messages_per_s):
            return answers.RATE_LIMIT
        if not self._pair_rate.admit(number, request.to, now, rules.pair_interval_s, rules.pair_burst):
            return answers.PAIR_LIMIT
        limit = rules.portfolio_people_max
        if limit is not None and not in_window and not self._portfolio.admit(request.to, now, limit):
            return answers.PORTFOLIO_LIMIT
        return request

    def _accept(self, number: str, request: Request, rule: Rule | None) -> str:
        wamid = answers.wamid_of(number, self.record.taken[number] + 1)
        name = None if rule is None else rule.name or rule.do
        code = rule.code if rule is not None and rule.do == "error" else None
        status: int | None = 200
        if rule is not None and rule.do != "answer":
            status = answers.refusal_of(rule.code, rule.status).status if code is not None else rule.status
        self._write(number, request.to, request.attempt_id, wamid, status, code, name)
        self.last_messages.append({"number": number, "wamid": wamid, "request": request.content})
        if self.behaviour.webhooks:
            self.webhooks.statuses_of(
                self.behaviour,
                number,
                request.to,
                wamid,
                request.attempt_id,
                rule.statuses if rule is not None else None,
                rule.code if rule is not None else 0,
            )
        return wamid

    def _write(
        self,
        number: str,
        to: str,
        attempt_id: str | None,
        wamid: str | None,
        status: int | None,
        code: int | str | None,
        rule: str | None,
    ) -> None:
        self.record.append(Call(self._now(), number, to, attempt_id, wamid, status, code, rule))

    def _refuse(self, refusal: Refusal, retry_after_min: int | None = None) -> Answer:
        usage = None
        if retry_after_min is not None:
            entry = {"type": "whatsapp", "estimated_time_to_regain_access": retry_after_min}
            usage = msgspec.json.encode({"account": [entry]}).decode()
        trace = f"{self._rng.getrandbits(60):015x}"
        return Answer(refusal.status, answers.error_body(refusal, trace), usage=usage)


class _Head(msgspec.Struct, frozen=True):
    to: str = ""
    biz_opaque_callback_data: str | None = None


def _head(body: bytes) -> _Head:
    try:
        return msgspec.json.decode(body, type=_Head)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _Head()


def _recipient(body: bytes) -> str:
    return _head(body).to.removeprefix("+")


def _callback(body: bytes) -> str | None:
    return _head(body).biz_opaque_callback_data
