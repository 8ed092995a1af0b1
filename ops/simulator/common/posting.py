"""What the simulator posts to the edge: when it is due, a few at once, repeated until it is accepted."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import aiohttp

from ops.simulator.common import numbers
from pipeline.runtime.backoff import Backoff

log = logging.getLogger(__name__)


class Post(NamedTuple):
    url: str
    body: bytes
    headers: dict[str, str]


class Posting(ABC):
    """A heap of what is due when, and a few workers that post it. `rng` decides delays, order and repeats."""

    batch_max = 1

    def __init__(self, rng: random.Random, clock: Callable[[], float]) -> None:
        self._rng = rng
        self._clock = clock
        self._due: list[tuple[float, int, Any]] = []  # (at, tie, part)
        self._ties = itertools.count()
        self._wake = asyncio.Event()
        self.posted = 0
        self.repeated = 0
        self.failed_posts = 0
        self.dropped = 0  # there were too many, or the edge was unavailable for too long
        self._posting = 0

    @property
    def pending(self) -> int:
        return len(self._due) + self._posting

    @abstractmethod
    def post_of(self, parts: Sequence[Any]) -> Post:
        """One request with all of these parts, at most `batch_max`."""

    def plan(self, at: float, part: Any) -> None:
        if len(self._due) >= numbers.WEBHOOKS_PENDING_MAX:
            self.dropped += 1
            return
        heapq.heappush(self._due, (at, next(self._ties), part))
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
                task = group.create_task(self._post(session, self.post_of(batch)))
                task.add_done_callback(lambda _task: places.release())

    def _take(self) -> list[Any]:
        batch: list[Any] = []
        now = self._clock()
        while self._due and self._due[0][0] <= now and len(batch) < self.batch_max:
            batch.append(heapq.heappop(self._due)[2])
        return batch

    async def _post(self, session: aiohttp.ClientSession, post: Post) -> None:
        give_up_at = self._clock() + numbers.WEBHOOK_GIVE_UP_S
        backoff = Backoff(numbers.WEBHOOK_RETRY_BASE_S, numbers.WEBHOOK_RETRY_MAX_S, rng=self._rng)
        try:
            while True:
                try:
                    async with session.post(post.url, data=post.body, headers=post.headers) as response:
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


def usual_statuses(rng: random.Random, behaviour: numbers.Behaviour) -> tuple[str, ...]:
    """What is reported about a message that was accepted."""
    if rng.random() >= behaviour.read_ratio:
        return ("sent", "delivered")
    if rng.random() < behaviour.delivered_skipped_ratio:
        return ("sent", "read")
    return ("sent", "delivered", "read")
