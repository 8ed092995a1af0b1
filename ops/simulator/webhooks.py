"""The simulator's webhooks: statuses and inbound messages, signed, retried, late, repeated, out of order."""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import hmac
import itertools
import logging
import random
import time
from collections.abc import Callable, Iterable
from typing import Any

import aiohttp
import msgspec

from ops.simulator import numbers
from ops.simulator.numbers import Behaviour
from pipeline.runtime.backoff import Backoff

log = logging.getLogger(__name__)

ACCOUNT = "100000000000001"
DEFAULT_STATUSES = ("sent", "delivered", "read")


class Webhooks:
    """A heap of what is due when, and a few workers that post it. `rng` decides delays, order and repeats."""

    def __init__(self, url: str, secret: bytes, rng: random.Random, clock: Callable[[], float]) -> None:
        self._url = url
        self._secret = secret
        self._rng = rng
        self._clock = clock
        self._due: list[tuple[float, int, str, str, dict[str, Any]]] = []  # (at, tie, number, field, part)
        self._ties = itertools.count()
        self._wake = asyncio.Event()
        self.posted = 0
        self.repeated = 0
        self.failed_posts = 0
        self.dropped = 0  # there were too many, or the edge was away for too long
        self._posting = 0

    @property
    def pending(self) -> int:
        return len(self._due) + self._posting

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
        for status in statuses if statuses is not None else self._usual(behaviour):
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

    def _usual(self, behaviour: Behaviour) -> Iterable[str]:
        if self._rng.random() >= behaviour.read_ratio:
            return ("sent", "delivered")
        if self._rng.random() < behaviour.delivered_skipped_ratio:
            return ("sent", "read")
        return DEFAULT_STATUSES

    def _plan(self, at: float, number: str, field: str, part: dict[str, Any]) -> None:
        if len(self._due) >= numbers.WEBHOOKS_PENDING_MAX:
            self.dropped += 1
            return
        heapq.heappush(self._due, (at, next(self._ties), number, field, part))
        self._wake.set()

    async def run(self) -> None:
        """Posts what is due until cancelled."""
        timeout = aiohttp.ClientTimeout(total=numbers.WEBHOOK_TIMEOUT_S)
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
            asyncio.TaskGroup() as group,
        ):
            places = asyncio.Semaphore(numbers.WEBHOOK_POSTS_AT_ONCE)
            while True:
                wait_s = self._due[0][0] - self._clock() if self._due else None
                if wait_s is None or wait_s > 0:
                    self._wake.clear()
                    try:
                        async with asyncio.timeout(wait_s):
                            await self._wake.wait()
                    except TimeoutError:
                        pass
                    continue
                await places.acquire()
                batch = self._take()
                self._posting += 1
                task = group.create_task(self._post(session, self._envelope(batch)))
                task.add_done_callback(lambda _task: places.release())

    def _take(self) -> list[tuple[str, str, dict[str, Any]]]:
        batch: list[tuple[str, str, dict[str, Any]]] = []
        now = self._clock()
        while self._due and self._due[0][0] <= now and len(batch) < numbers.WEBHOOK_BATCH_MAX:
            _, _, number, field, part = heapq.heappop(self._due)
            batch.append((number, field, part))
        return batch

    def _envelope(self, batch: list[tuple[str, str, dict[str, Any]]]) -> bytes:
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

    async def _post(self, session: aiohttp.ClientSession, body: bytes) -> None:
        signature = "sha256=" + hmac.new(self._secret, body, hashlib.sha256).hexdigest()
        headers = {"X-Hub-Signature-256": signature, "Content-Type": "application/json"}
        give_up_at = self._clock() + numbers.WEBHOOK_GIVE_UP_S
        backoff = Backoff(numbers.WEBHOOK_RETRY_BASE_S, numbers.WEBHOOK_RETRY_MAX_S, rng=self._rng)
        try:
            while True:
                try:
                    async with session.post(self._url, data=body, headers=headers) as response:
                        if response.status == 200:
                            self.posted += 1
                            return
                        answer = f"HTTP {response.status}"
                except (aiohttp.ClientError, TimeoutError, OSError) as error:
                    answer = type(error).__name__
                self.failed_posts += 1
                if self._clock() >= give_up_at:
                    self.dropped += 1
                    log.error("webhook given up after %g s: %s", numbers.WEBHOOK_GIVE_UP_S, answer)
                    return
                await asyncio.sleep(backoff.after_failure_s())
        finally:
            self._posting -= 1
