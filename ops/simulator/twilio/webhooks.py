"""Twilio's webhooks: a form a post, signed over address and fields; statuses at the message's callback."""

from __future__ import annotations

import hashlib
import hmac
import random
from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

from ops.simulated_instances import TWILIO_ACCOUNT
from ops.simulator.common.numbers import Behaviour
from ops.simulator.common.posting import Post
from ops.simulator.common.session_answers import Message, SessionWebhooks

STOPS, STARTS = frozenset({"STOP", "UNSUBSCRIBE", "CANCEL", "QUIT"}), frozenset({"START", "YES", "UNSTOP"})


class Form(NamedTuple):
    url: str
    fields: dict[str, str]


class TwilioWebhooks(SessionWebhooks):
    """`opted_out` is kept here: a person who answers STOP gets nothing more from that number."""

    def __init__(
        self,
        url: str,
        token: str,
        rng: random.Random,
        clock: Callable[[], float],
        opted_out: set[tuple[str, str]],
    ) -> None:
        super().__init__(rng, clock)
        self._url = url
        self._token = token.encode()
        self._opted_out = opted_out

    def statuses_of(self, behaviour: Behaviour, message: Message, statuses: tuple[str, ...] | None) -> None:
        """Only for a message with a callback; in any order, and some twice."""
        url, at = message.shown["callback"], self._clock()
        if not url:
            return
        for status in statuses if statuses is not None else ("queued", "sent", "delivered"):
            at_status = at + self._rng.uniform(
                0, behaviour.delivered_delay_s if status == "delivered" else behaviour.sent_delay_s
            )
            fields = {
                "AccountSid": TWILIO_ACCOUNT,
                "MessageSid": message.message_id,
                "SmsSid": message.message_id,
                "MessageStatus": status,
                "SmsStatus": status,
                "From": f"+{message.number}",
                "To": f"+{message.to}",
                "ApiVersion": "2010-04-01",
            }
            if status in ("failed", "undelivered"):
                fields["ErrorCode"] = "30003"
            self.plan(at_status, Form(url, fields))
            if self._rng.random() < behaviour.duplicate_ratio:
                self.repeated += 1
                self.plan(at_status + self._rng.uniform(0, 0.5), Form(url, fields))

    def inbound(self, number: str, sender: str, text: str) -> str:
        message_id = f"SM{self._rng.getrandbits(128):032x}"
        person = (number, sender.removeprefix("+"))
        word = text.strip().upper()
        if word in STOPS:
            self._opted_out.add(person)
        elif word in STARTS:
            self._opted_out.discard(person)
        fields = {
            "AccountSid": TWILIO_ACCOUNT,
            "MessageSid": message_id,
            "SmsSid": message_id,
            "SmsStatus": "received",
            "From": f"+{person[1]}",
            "To": f"+{number}",
            "Body": text,
            "NumMedia": "0",
            "NumSegments": "1",
            "ApiVersion": "2010-04-01",
        }
        self.plan(self._clock(), Form(self._url, fields))
        return message_id

    def connection(self, number: str, connected: bool, reason: str) -> None:
        """There is no session whose loss is reported."""

    def post_of(self, parts: Sequence[Any]) -> Post:
        (form,) = parts
        signed = form.url + "".join(name + form.fields[name] for name in sorted(form.fields))
        signature = b64encode(hmac.new(self._token, signed.encode(), hashlib.sha1).digest()).decode()
        headers = {"Content-Type": "application/x-www-form-urlencoded", "X-Twilio-Signature": signature}
        return Post(form.url, urlencode(form.fields).encode(), headers)
