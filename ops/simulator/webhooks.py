"""The Cloud API's webhooks: statuses and inbound messages, signed, retried, late, repeated, out of order."""

from __future__ import annotations

import hashlib
import hmac
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from ops.simulator.common import numbers
from ops.simulator.common.numbers import Behaviour
from ops.simulator.common.posting import Post, Posting, usual_statuses

ACCOUNT = "100000000000001"


class Webhooks(Posting):
    """Parts of one number and kind share a change, all parts of a post its envelope."""

    batch_max = numbers.WEBHOOK_BATCH_MAX

    def __init__(self, url: str, secret: bytes, rng: random.Random, clock: Callable[[], float]) -> None:
        super().__init__(rng, clock)
        self._url = url
        self._secret = secret

    def statuses_of(
        self,
        behaviour: Behaviour,
        number: str,
        to: str,
        wamid: str,
        attempt_id: str | None,
        statuses: tuple[str, ...] | None,
        code: int,
    ) -> None:
        """Plans what will be said about a message that was taken."""
        at = self._clock()
        delays = {
            "sent": behaviour.sent_delay_s,
            "delivered": behaviour.delivered_delay_s,
            "read": behaviour.read_delay_s,
        }
        for status in statuses if statuses is not None else usual_statuses(self._rng, behaviour):
            at_status = at + self._rng.uniform(0, delays.get(status, behaviour.sent_delay_s))
            part: dict[str, Any] = {
                "id": wamid,
                "status": status,
                "timestamp": str(int(time.time())),
                "recipient_id": to,
            }
            if attempt_id is not None:
                part["biz_opaque_callback_data"] = attempt_id
            if status == "failed":
                part["errors"] = [{"code": code, "title": "simulated", "message": "simulated"}]
            self._plan(at_status, number, "statuses", part)
            if self._rng.random() < behaviour.duplicate_ratio:
                self.repeated += 1
                self._plan(at_status + self._rng.uniform(0, 0.5), number, "statuses", part)

    def inbound(self, number: str, sender: str, text: str) -> str:
        """Somebody writes to the number; returns the message's id."""
        message_id = f"wamid.in.{self._rng.getrandbits(64):016x}"
        self._plan(
            self._clock(),
            number,
            "messages",
            {
                "from": sender.removeprefix("+"),
                "id": message_id,
                "timestamp": str(int(time.time())),
                "type": "text",
                "text": {"body": text},
            },
        )
        return message_id

    def preference(self, number: str, sender: str, value: str) -> None:
        """Somebody stops, or resumes, marketing messages in their settings."""
        self._plan(
            self._clock(),
            number,
            "user_preferences",
            {"wa_id": sender.removeprefix("+"), "category": "marketing_messages", "value": value},
        )

    def post_of(self, parts: Sequence[Any]) -> Post:
        body = self._envelope(parts)
        signature = "sha256=" + hmac.new(self._secret, body, hashlib.sha256).hexdigest()
        return Post(self._url, body, {"X-Hub-Signature-256": signature, "Content-Type": "application/json"})

    def _plan(self, at: float, number: str, field: str, part: dict[str, Any]) -> None:
        self.plan(at, (number, field, part))

    def _envelope(self, batch: Sequence[tuple[str, str, dict[str, Any]]]) -> bytes:
        """One change for each number and kind of part."""
        changes: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for number, field, part in batch:
            changes.setdefault((number, field), []).append(part)
        return msgspec.json.encode(
            {
                "object": "whatsapp_business_account",
                "entry": [
                    {
                        "id": ACCOUNT,
                        "changes": [
                            {
                                "field": "user_preferences" if field == "user_preferences" else "messages",
                                "value": {
                                    "messaging_product": "whatsapp",
                                    "metadata": {"display_phone_number": number, "phone_number_id": number},
                                    field: parts,
                                },
                            }
                            for (number, field), parts in changes.items()
                        ],
                    }
                ],
            }
        )
