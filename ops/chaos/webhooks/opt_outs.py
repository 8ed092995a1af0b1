"""People who opt out during a fault run, in every form, and malformed webhooks between them.

A STOP is repeated until the edge acknowledges it. Afterwards it must be in force, and from then on no message
may go to that person but those whose call was in flight.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec

from ops.audit.provider_record import Call

EVERY_S = 0.5
REPEAT_AFTER_S = 0.5
REQUEST_TIMEOUT_S = 5.0
MALFORMED_RATIO = 0.5  # of the opt-outs are followed by a malformed webhook

Body = dict[str, Any]


def _text(sender: Body, body: str) -> Body:
    return {"messages": [sender | {"type": "text", "text": {"body": body}}]}


def _reply(sender: Body, kind: str) -> Body:
    reply = {"id": "7", "title": "Parar promoções"}
    return {"messages": [sender | {"type": "interactive", "interactive": {"type": kind, kind: reply}}]}


FORMS: Mapping[str, Callable[[str, Body], Body]] = {
    "word": lambda _wa_id, sender: _text(sender, "CANCELAR"),
    "polite phrase": lambda _wa_id, sender: _text(sender, "sair, por favor"),
    "template button": lambda _wa_id, sender: {
        "messages": [sender | {"type": "button", "button": {"text": "Stop promotions"}}]
    },
    "button reply": lambda _wa_id, sender: _reply(sender, "button_reply"),
    "list reply": lambda _wa_id, sender: _reply(sender, "list_reply"),
    "preference": lambda wa_id, _sender: {"user_preferences": [{"wa_id": wa_id, "value": "stop"}]},
    "id without the ninth digit": lambda wa_id, sender: _text(
        sender | {"from": f"{wa_id[:4]}{wa_id[5:]}"}, "STOP"
    ),
    "user id with the phone beside": lambda wa_id, sender: {
        **_text({**sender, "from": None, "from_user_id": f"BR.{wa_id}"}, "PARE"),
        "contacts": [{"wa_id": wa_id, "user_id": f"BR.{wa_id}"}],
    },
}
# Each is a body in which one part is wrong and the opt-out of nobody is contained.
MALFORMED: Sequence[bytes] = (
    rb'{"entry":[{"changes":[{"value":{"contacts":[{"profile":{"name":"\ud83d"}}],"statuses":[{"id":7}]}}]}]}',
    b'{"entry":[{"changes":[{"value":{"messages":[null,3,{"from":{}}],"statuses":"?"}}]}]}',
    b'{"entry":[{"changes":[{"value":{"user_preferences":[[]],"metadata":[]}}]}]}',
    b'{"entry":[null,{"changes":null},{"changes":[{"value":7}]}]}',
)


@dataclass(frozen=True, slots=True)
class OptedOut:
    """`acknowledged_at`: wall clock, seconds; of the edge's 200."""

    phone: str
    form: str
    acknowledged_at: float


@dataclass(slots=True)
class OptOuts:
    """One run. `people`: as many as the load has, `phone_of` each; every one opts out at most once."""

    seed: int
    people: int
    phone_of: Callable[[int], str]
    number_id: str
    edge_url: str
    signing_key: bytes = field(repr=False)
    done: list[OptedOut] = field(default_factory=list)
    malformed: int = 0
    problems: list[str] = field(default_factory=list)

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; what is begun is still acknowledged, or given up with the session."""
        rng = random.Random(f"{self.seed}:opt-outs")
        chosen = rng.sample(range(self.people), min(self.people, 10_000))
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
            for turn, person in enumerate(chosen):
                if stop.is_set():
                    return
                form = list(FORMS)[turn % len(FORMS)]
                phone = self.phone_of(person)
                await self._post(session, self._body(phone, form, turn), stop)
                if not stop.is_set():
                    self.done.append(OptedOut(phone, form, time.time()))
                if rng.random() < MALFORMED_RATIO:
                    await self._post(session, rng.choice(MALFORMED), stop)
                    self.malformed += 1
                await asyncio.sleep(EVERY_S)

    def _body(self, phone: str, form: str, turn: int) -> bytes:
        wa_id = phone.removeprefix("+")
        sender = {"from": wa_id, "id": f"wamid.chaos.{self.seed}.{turn}", "timestamp": str(int(time.time()))}
        value = {"metadata": {"phone_number_id": self.number_id}} | FORMS[form](wa_id, sender)
        changes = [{"field": "messages", "value": value}]
        return msgspec.json.encode({"entry": [{"id": "1", "changes": changes}]})

    async def _post(self, session: aiohttp.ClientSession, body: bytes, stop: asyncio.Event) -> None:
        digest = hmac.new(self.signing_key, body, hashlib.sha256).hexdigest()
        headers = {"X-Hub-Signature-256": f"sha256={digest}", "Content-Type": "application/json"}
        url = f"{self.edge_url.rstrip('/')}/webhooks/meta-cloud"
        while not stop.is_set():
            try:
                async with session.post(url, data=body, headers=headers) as response:
                    await response.read()
                    if response.status == 200:
                        return
                    if response.status < 500 and response.status != 429:
                        self.problems.append(f"HTTP {response.status}")
                        return
            except (aiohttp.ClientError, TimeoutError, OSError):
                pass
            await asyncio.sleep(REPEAT_AFTER_S)


def messages_after(
    done: Sequence[OptedOut], in_force_at: Mapping[str, float], calls: Sequence[Call], grace_s: float
) -> tuple[list[str], list[str]]:
    """The forms of opt-outs that are not in force, and of those after which a message was accepted. Pure.

    `in_force_at`: phone -> when its suppression was written, wall clock, seconds. `grace_s`: of calls in
    flight then.
    """
    lost = [one.form for one in done if one.phone not in in_force_at]
    forms = {one.phone.removeprefix("+"): one.form for one in done}
    late = [
        forms[call.to]
        for call in calls
        if call.wamid is not None
        and call.to in forms
        and call.at > in_force_at.get(f"+{call.to}", float("inf")) + grace_s
    ]
    return lost, late
