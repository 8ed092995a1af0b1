"""Posts completions over HTTP at a constant rate, independent of the response time, until each is accepted.

The n-th request is a function of seed and n. A rejected or unanswered request is sent again with the same
key. Some requests repeat an earlier one, like a client that lost its answer.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TextIO

import aiohttp
import msgspec

from ops.chaos.scene import COLOURS, QUESTION, QUIZ_ID, SESSION_ID, SESSION_PERCENT
from ops.demo.phones import demo_phone
from pipeline.runtime.backoff import Backoff

CONNECTIONS_MAX = 200
REQUEST_TIMEOUT_S = 10.0
BACKOFF_FIRST_S = 0.2
BACKOFF_MAX_S = 2.0
BACKOFF_JITTER_RATIO = 0.5
RETRY_AFTER_S_MAX = 3.0
GIVE_UP_AFTER_S = 180.0
REPEAT_RATIO = 0.02
REPEAT_BACK_MAX = 200
TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
PROBLEMS_KEPT_MAX = 10


@dataclass(frozen=True, slots=True)
class Request:
    number: int
    key: str
    phone: str
    colour: str
    quiz_id: str = QUIZ_ID
    submitted_at_ms: int | None = None  # since the epoch; None: the edge decides

    @property
    def body(self) -> bytes:
        given: dict[str, object] = {"contact": {"phone": self.phone}, "answers": {QUESTION: self.colour}}
        if self.submitted_at_ms is not None:
            given["submitted_at"] = datetime.fromtimestamp(self.submitted_at_ms / 1000, UTC)
        return msgspec.json.encode(given)


def request_of(seed: int, number: int, people: int) -> Request:
    """Return the `number`-th request of a run. Pure."""
    rng = random.Random(f"{seed}:{number}")
    if number and rng.random() < REPEAT_RATIO:
        return request_of(seed, number - rng.randint(1, min(number, REPEAT_BACK_MAX)), people)
    person = rng.randrange(people)
    (colour,) = rng.choices(list(COLOURS), list(COLOURS.values()))
    # A part of the people, always the same, answers the other tenant's quiz: no phone is in both.
    quiz_id = SESSION_ID if person % 100 < SESSION_PERCENT else QUIZ_ID
    return Request(number, f"{seed}-{number}", demo_phone(quiz_id, person), colour, quiz_id)


@dataclass(frozen=True, slots=True)
class LoadPlan:
    seed: int
    rate_per_s: float
    people: int
    edge_url: str
    service_token: str = field(repr=False)

    @staticmethod
    def completions_url(edge_url: str, quiz_id: str = QUIZ_ID) -> str:
        return f"{edge_url.rstrip('/')}/quiz/{quiz_id}/completions"


@dataclass(slots=True)
class Tally:
    """Counts of a run, readable from any thread. `problems`: the first few."""

    offered: int = 0
    accepted: int = 0
    accepted_late: int = 0  # of them, with a time of their own
    retries: int = 0
    refused: int = 0
    gave_up: int = 0
    problems: list[str] = field(default_factory=list)
    accepted_in_s: Counter[int] = field(default_factory=Counter)  # whole second of the run -> 202s

    def problem(self, detail: str) -> None:
        if len(self.problems) < PROBLEMS_KEPT_MAX:
            self.problems.append(detail)

    @property
    def open(self) -> int:
        return self.offered - self.accepted - self.refused - self.gave_up


class Receipt(msgspec.Struct):
    completion_id: str


class Load:
    """One run of requests. The id of every 202 is written to `accepted`, one a line."""

    def __init__(self, plan: LoadPlan, accepted: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self.tally = Tally()
        self.begun_s = clock()
        self._plan = plan
        self._accepted = accepted
        self._clock = clock
        self._rng = random.Random(plan.seed)
        self._receipt = msgspec.json.Decoder(Receipt)
        self._begun = 0
        self._handed_in = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Post until `stop`, then return once every request has an answer or timed out."""
        async with self._session() as session, asyncio.TaskGroup() as group:
            begun_s = self.begun_s = self._clock()
            while not stop.is_set():
                due = int((self._clock() - begun_s) * self._plan.rate_per_s)
                while self._begun < due:
                    request = request_of(self._plan.seed, self._begun, self._plan.people)
                    self._begun += 1
                    group.create_task(self._post(session, request))
                await asyncio.sleep(0.01)

    async def hand_in(self, submitted_at_ms: Sequence[int]) -> int:
        """Post a completion for each time; return the number accepted, once each has its answer."""
        numbers = range(self._handed_in, self._handed_in + len(submitted_at_ms))
        self._handed_in = numbers.stop
        before = self.tally.accepted_late
        async with self._session() as session, asyncio.TaskGroup() as group:
            for number, at_ms in zip(numbers, submitted_at_ms, strict=True):
                request = replace(
                    request_of(self._plan.seed, number, self._plan.people),
                    key=f"{self._plan.seed}-late-{number}",
                    submitted_at_ms=at_ms,
                )
                group.create_task(self._post(session, request))
        return self.tally.accepted_late - before

    def take(self, accepted_ids: Iterable[str], accepted_in_s: Mapping[int, int]) -> None:
        """Add what another client had accepted; seconds of the clock. Call it on the load's event loop."""
        for completion_id in accepted_ids:
            self._accepted.write(f"{completion_id}\n")
        for at_s, count in accepted_in_s.items():
            self.tally.accepted_in_s[int(at_s - self.begun_s)] += count

    def _session(self) -> aiohttp.ClientSession:
        headers = {
            "Authorization": f"Bearer {self._plan.service_token}",
            "Content-Type": "application/json",
        }
        connector = aiohttp.TCPConnector(limit=CONNECTIONS_MAX)
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=REQUEST_TIMEOUT_S, sock_read=REQUEST_TIMEOUT_S
        )
        return aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers)

    async def _post(self, session: aiohttp.ClientSession, request: Request) -> None:
        self.tally.offered += 1
        give_up_at_s = self._clock() + GIVE_UP_AFTER_S
        backoff = Backoff(BACKOFF_FIRST_S, BACKOFF_MAX_S, BACKOFF_JITTER_RATIO, self._rng)
        body, headers = request.body, {"Idempotency-Key": request.key}
        url = self._plan.completions_url(self._plan.edge_url, request.quiz_id)
        while True:
            retry_after_s = 0.0
            try:
                async with session.post(url, data=body, headers=headers) as response:
                    answer = await response.read()
                    if response.status == 202:
                        self._accepted.write(f"{self._receipt.decode(answer).completion_id}\n")
                        self.tally.accepted += 1
                        self.tally.accepted_late += request.submitted_at_ms is not None
                        self.tally.accepted_in_s[int(self._clock() - self.begun_s)] += 1
                        return
                    detail = f"HTTP {response.status} {answer[:200]!r}"
                    if response.status not in TRANSIENT:
                        self.tally.refused += 1
                        self.tally.problem(f"request {request.number}: {detail}")
                        return
                    with suppress(ValueError):
                        retry_after_s = float(response.headers.get("Retry-After", ""))
            except (aiohttp.ClientError, TimeoutError, OSError, msgspec.DecodeError) as error:
                detail = f"no answer ({type(error).__name__})"
            if self._clock() > give_up_at_s:
                self.tally.gave_up += 1
                self.tally.problem(f"request {request.number}: gave up: {detail}")
                return
            self.tally.retries += 1
            asked_s = min(retry_after_s, RETRY_AFTER_S_MAX) * self._rng.uniform(
                1.0, 1.0 + BACKOFF_JITTER_RATIO
            )
            await asyncio.sleep(max(asked_s, backoff.after_failure_s()))
