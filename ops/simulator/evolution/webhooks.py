"""Evolution API's webhooks: one event a post, a key in the address, the API key in the body."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from ops.simulator.common.addresses import Addresses
from ops.simulator.common.numbers import Behaviour
from ops.simulator.common.posting import Post, usual_statuses
from ops.simulator.common.session_answers import Message, NumberWebhooks

ACKS = {"sent": "SERVER_ACK", "delivered": "DELIVERY_ACK", "read": "READ", "failed": "ERROR"}


class EvolutionWebhooks(NumberWebhooks):
    """`token_of` gives the key of a number, which its bodies have."""

    def __init__(
        self,
        addresses: Addresses,
        rng: random.Random,
        clock: Callable[[], float],
        token_of: Callable[[str], str],
    ) -> None:
        super().__init__(addresses, rng, clock)
        self._token_of = token_of

    def statuses_of(self, behaviour: Behaviour, message: Message, statuses: tuple[str, ...] | None) -> None:
        at = self._clock()
        delays = {"delivered": behaviour.delivered_delay_s, "read": behaviour.read_delay_s}
        for status in statuses if statuses is not None else usual_statuses(self._rng, behaviour):
            at_status = at + self._rng.uniform(0, delays.get(status, behaviour.sent_delay_s))
            data = {
                "keyId": message.message_id,
                "remoteJid": message.shown["key"]["remoteJid"],
                "fromMe": True,
                "status": ACKS.get(status, status),
            }
            event = self._event(message.number, "messages.update", data)
            self.plan(at_status, event)
            if self._rng.random() < behaviour.duplicate_ratio:
                self.repeated += 1
                self.plan(at_status + self._rng.uniform(0, 0.5), event)

    def inbound(self, number: str, sender: str, text: str) -> str:
        message_id = f"AC{self._rng.getrandbits(64):016X}"
        jid = f"{sender.removeprefix('+')}@s.whatsapp.net"
        data = {
            "key": {"remoteJid": jid, "fromMe": False, "id": message_id},
            "message": {"conversation": text},
            "messageType": "conversation",
            "messageTimestamp": int(time.time()),
        }
        self.plan(self._clock(), self._event(number, "messages.upsert", data))
        return message_id

    def connection(self, number: str, connected: bool, reason: str) -> None:
        code = reason[:3]
        data = {"instance": number, "state": "open" if connected else "close"}
        stated = {} if connected else {"statusReason": int(code) if code.isdecimal() else 500}
        self.plan(self._clock(), self._event(number, "connection.update", {**data, **stated}))

    def post_of(self, parts: Sequence[Any]) -> Post:
        (event,) = parts
        url = self.addresses.of(event["instance"])
        return Post(url, msgspec.json.encode(event), {"Content-Type": "application/json"})

    def _event(self, number: str, kind: str, data: dict[str, Any]) -> dict[str, Any]:
        return {"event": kind, "instance": number, "data": data, "apikey": self._token_of(number)}
