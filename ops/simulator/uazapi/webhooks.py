"""UAZAPI's webhooks: one event a post, a key in the address, the token of the instance in the body."""

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

STATES = {"delivered": "Delivered", "read": "Read", "failed": "Error"}


class UazapiWebhooks(NumberWebhooks):
    """`token_of` gives the token of a number, which its bodies have."""

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
        """Plans what is reported about a message that was accepted: its echo, and receipts."""
        at, number = self._clock(), message.number
        delays = {"delivered": behaviour.delivered_delay_s, "read": behaviour.read_delay_s}
        for status in statuses if statuses is not None else usual_statuses(self._rng, behaviour):
            at_status = at + self._rng.uniform(0, delays.get(status, behaviour.sent_delay_s))
            if status == "sent":
                echo = {**message.shown, "status": "Sent", "messageTimestamp": int(time.time() * 1000)}
                event = self._event(number, "messages", message=echo)
            else:
                event = self._receipt(number, message, STATES.get(status, status))
            self.plan(at_status, event)
            if self._rng.random() < behaviour.duplicate_ratio:
                self.repeated += 1
                self.plan(at_status + self._rng.uniform(0, 0.5), event)

    def inbound(self, number: str, sender: str, text: str) -> str:
        """A person writes to the number; returns the message's id."""
        message_id = f"AC{self._rng.getrandbits(64):016X}"
        jid = f"{sender.removeprefix('+')}@s.whatsapp.net"
        message = {
            "chatid": jid,
            "sender_pn": jid,
            "fromMe": False,
            "isGroup": "False",
            "id": f"{number}:{message_id}",
            "messageid": message_id,
            "messageTimestamp": int(time.time() * 1000),
            "messageType": "ExtendedTextMessage",
            "owner": number,
            "text": text,
        }
        self.plan(self._clock(), self._event(number, "messages", message=message))
        return message_id

    def connection(self, number: str, connected: bool, reason: str) -> None:
        """The session of the number is lost, or is there again."""
        instance = {"name": number, "status": "connected" if connected else "disconnected"}
        if not connected:
            instance["lastDisconnect"] = time.strftime("%Y-%m-%d %H:%M:%S.000Z", time.gmtime())
            instance["lastDisconnectReason"] = reason
        kind = "LoggedOut" if reason.startswith("401") else ""
        self.plan(self._clock(), self._event(number, "connection", instance=instance, type=kind))

    def post_of(self, parts: Sequence[Any]) -> Post:
        (event,) = parts
        url = self.addresses.of(event["owner"])
        return Post(url, msgspec.json.encode(event), {"Content-Type": "application/json"})

    def _event(self, number: str, kind: str, **more: Any) -> dict[str, Any]:
        return {"EventType": kind, "owner": number, "token": self._token_of(number), **more}

    def _receipt(self, number: str, message: Message, state: str) -> dict[str, Any]:
        event = {
            "MessageIDs": [message.message_id],
            "Chat": message.shown["chatid"],
            "IsFromMe": "False",
            "IsGroup": "False",
            "Timestamp": str(int(time.time())),
            "Type": state,
        }
        return self._event(number, "messages_update", event=event, state=state, type="ReadReceipt")
