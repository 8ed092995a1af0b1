"""Posts the rows of a table as completions, and posts each until the edge has said yes or no to it.

A second replay of the same file on any later day changes nothing, because all that ids and days are made of
is a function of the quiz and the row: the idempotency key of quiz, line and contact; the contact, where the
file has none, of quiz and line; and `submitted_at` is when the quiz was made, not when the replay ran.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

import aiohttp
import msgspec

from ops.demo.answer_table import AnswerTable, Malformed, Row
from ops.demo.phones import ROWS_MAX, demo_phone

CONCURRENCY_DEFAULT = 64
IN_FLIGHT_MAX = 1000  # bounds an open loop whose edge has stopped answering
REQUEST_TIMEOUT_S = 30.0
GIVE_UP_AFTER_S = 300.0  # of one row's tries
KNOWN_AFTER_S_MAX = 20.0  # what the edge may take to hear of a new quiz or token
BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 5.0
RETRY_AFTER_S_MAX = 60.0
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_UNKNOWN_YET = frozenset({401, 403, 404})


@dataclass(frozen=True, slots=True)
class Accepted:
    line: int
    completion_id: str


@dataclass(frozen=True, slots=True)
class Refused:
    """For good: the same row would be refused again."""

    line: int
    problem: str


@dataclass(frozen=True, slots=True)
class GaveUp:
    """No answer in time. It may have been accepted: a second replay settles it."""

    line: int
    problem: str


RowOutcome = Accepted | Refused | GaveUp


@dataclass(frozen=True, slots=True)
class Plan:
    """`rate_per_s`: rows go on schedule, however slow the answers are; None: `concurrency` at a time."""

    table: AnswerTable
    quiz_id: str
    submitted_at_ms: int
    edge_url: str
    service_token: str = field(repr=False)
    rate_per_s: float | None = None
    concurrency: int = CONCURRENCY_DEFAULT
    give_up_after_s: float = GIVE_UP_AFTER_S


@dataclass(slots=True)
class Summary:
    rows: int = 0
    accepted: int = 0
    refused: int = 0
    gave_up: int = 0
    retries: int = 0
    elapsed_s: float = 0.0

    @property
    def ok(self) -> bool:
        return self.refused == 0 and self.gave_up == 0


async def replay(
    plan: Plan,
    on_outcome: Callable[[RowOutcome], None],
    *,
    clock: Callable[[], float] = time.monotonic,
    rng: random.Random | None = None,
) -> Summary:
    """Returns once every row has its outcome. `on_outcome` is called on the event loop, in no order."""
    summary = Summary()
    started_s = clock()

    def settle(outcome: RowOutcome) -> None:
        summary.rows += 1
        match outcome:
            case Accepted():
                summary.accepted += 1
            case Refused():
                summary.refused += 1
            case GaveUp():
                summary.gave_up += 1
        on_outcome(outcome)

    in_flight_max = plan.concurrency if plan.rate_per_s is None else IN_FLIGHT_MAX
    connector = aiohttp.TCPConnector(limit=in_flight_max)
    timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
    headers = {"Authorization": f"Bearer {plan.service_token}", "Content-Type": "application/json"}
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers) as session:
        poster = _Poster(plan, session, summary, clock, rng or random.Random())
        rows = _readable(plan.table, settle)
        first = next(rows, None)
        if first is not None:
            # Alone, so that an edge that has not heard of the quiz yet is asked once, not by every row.
            settle(await poster.post(first, known_by_s=clock() + KNOWN_AFTER_S_MAX))
            await _post_all(plan, rows, poster, settle, in_flight_max, clock)
    summary.elapsed_s = clock() - started_s
    return summary


def _readable(table: AnswerTable, settle: Callable[[RowOutcome], None]) -> Iterator[Row]:
    for row in table.rows():
        match row:
            case Row():
                yield row
            case Malformed(line, problem):
                settle(Refused(line, problem))


async def _post_all(
    plan: Plan,
    rows: Iterator[Row],
    poster: _Poster,
    settle: Callable[[RowOutcome], None],
    in_flight_max: int,
    clock: Callable[[], float],
) -> None:
    slots = asyncio.Semaphore(in_flight_max)

    async def one(row: Row) -> None:
        try:
            settle(await poster.post(row))
        finally:
            slots.release()

    begun_s = clock()
    async with asyncio.TaskGroup() as group:
        for number, row in enumerate(rows, 1):
            if plan.rate_per_s is not None:
                await asyncio.sleep(max(0.0, begun_s + number / plan.rate_per_s - clock()))
            await slots.acquire()
            group.create_task(one(row))


class _Poster:
    def __init__(
        self,
        plan: Plan,
        session: aiohttp.ClientSession,
        summary: Summary,
        clock: Callable[[], float],
        rng: random.Random,
    ) -> None:
        self._plan = plan
        self._session = session
        self._summary = summary
        self._clock = clock
        self._rng = rng
        self._url = f"{plan.edge_url.rstrip('/')}/quiz/{plan.quiz_id}/completions"
        moment = datetime.fromtimestamp(plan.submitted_at_ms / 1000, UTC)
        self._submitted_at = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    async def post(self, row: Row, known_by_s: float = 0.0) -> RowOutcome:
        """Tries with one key until it is accepted, refused for good, or time is up.

        Until `known_by_s` an edge that knows neither quiz nor token is asked again.
        """
        phone = row.contact
        if self._plan.table.contact_column is None:
            if row.line >= ROWS_MAX:
                return Refused(row.line, f"over {ROWS_MAX} lines: people can be made up no further")
            phone = demo_phone(self._plan.quiz_id, row.line)
        body = msgspec.json.encode(
            {
                "submitted_at": self._submitted_at,
                "answers": row.answers,
                **({} if phone is None else {"contact": {"phone": phone}}),
            }
        )
        # The edge adds tenant, quiz and contact to the key when it makes the id.
        headers = {"Idempotency-Key": f"replay-line-{row.line}"}
        give_up_at_s = self._clock() + self._plan.give_up_after_s
        backoff_s = BACKOFF_FIRST_S
        while True:
            retry_after_s = 0.0
            try:
                async with self._session.post(self._url, data=body, headers=headers) as response:
                    answer = await response.read()
                    if response.status == 202:
                        return Accepted(row.line, msgspec.json.decode(answer, type=_Receipt).completion_id)
                    problem = _problem(response.status, answer)
                    unknown_yet = response.status in _UNKNOWN_YET and self._clock() < known_by_s
                    if response.status not in _TRANSIENT and not unknown_yet:
                        return Refused(row.line, problem)
                    retry_after_s = _retry_after_s(response.headers.get("Retry-After", ""))
            except (aiohttp.ClientError, TimeoutError, OSError, msgspec.DecodeError) as error:
                problem = f"no answer from {self._plan.edge_url} ({type(error).__name__})"
            if self._clock() > give_up_at_s:
                return GaveUp(row.line, problem)
            self._summary.retries += 1
            await asyncio.sleep(max(retry_after_s, backoff_s) * self._rng.uniform(1.0, 1.5))
            backoff_s = min(BACKOFF_MAX_S, backoff_s * 2)


class _Receipt(msgspec.Struct):
    completion_id: str


class _Fault(msgspec.Struct):
    field: str = ""
    detail: str = ""


class _Problem(msgspec.Struct):
    title: str = ""
    detail: str = ""
    errors: list[_Fault] = []


def _problem(status: int, body: bytes) -> str:
    """One line from a problem document (RFC 9457), or the bare status."""
    try:
        problem = msgspec.json.decode(body, type=_Problem)
    except msgspec.DecodeError:
        return f"HTTP {status}"
    said = problem.detail or problem.title
    faults = "; ".join(f"{fault.field} {fault.detail}".strip() for fault in problem.errors[:3])
    return " ".join(f"HTTP {status}: {said} {faults}".split())


def _retry_after_s(header: str) -> float:
    with suppress(ValueError):
        return min(RETRY_AFTER_S_MAX, max(0.0, float(header)))
    return 0.0
