"""Posts the rows of a table as completions, each until the edge has accepted or rejected it.

A second replay of the same file, on any later day, changes nothing. Ids and days depend only on quiz and row:

- the idempotency key follows from quiz, line and contact;
- a contact that the file does not have follows from quiz and line;
- `submitted_at` is the time at which the quiz was created, not that of the replay.
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
from pipeline.runtime.backoff import Backoff

CONCURRENCY_DEFAULT = 64
IN_FLIGHT_MAX = 1000  # limits an open loop whose edge has stopped answering
REQUEST_TIMEOUT_S = 30.0
GIVE_UP_AFTER_S = 300.0  # of all attempts of one row
KNOWN_AFTER_S_MAX = 20.0  # until the edge has received a new quiz or token
BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 5.0
BACKOFF_JITTER_RATIO = 0.5
RETRY_AFTER_S_MAX = 60.0
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_UNKNOWN_YET = frozenset({401, 403, 404})


@dataclass(frozen=True, slots=True)
class Accepted:
    line: int
    completion_id: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """The edge rejected the row finally: a retry would be rejected again."""

    line: int
    problem: str


@dataclass(frozen=True, slots=True)
class GaveUp:
    """No answer in time. The row may have been accepted; a second replay is safe."""

    line: int
    problem: str


RowOutcome = Accepted | Rejected | GaveUp


@dataclass(frozen=True, slots=True)
class Plan:
    """`rate_per_s`: rows per second, independent of the response time; None: `concurrency` at a time."""

    table: AnswerTable
    quiz_id: str
    submitted_at_ms: int
    edge_url: str
    service_token: str = field(repr=False)
    rate_per_s: float | None = None
    concurrency: int = CONCURRENCY_DEFAULT
    give_up_after_s: float = GIVE_UP_AFTER_S
    emails: bool = False  # generated contacts have an e-mail address too


@dataclass(slots=True)
class Summary:
    rows: int = 0
    accepted: int = 0
    rejected: int = 0
    gave_up: int = 0
    retries: int = 0
    elapsed_s: float = 0.0

    @property
    def ok(self) -> bool:
        return self.rejected == 0 and self.gave_up == 0


async def replay(
    plan: Plan,
    on_outcome: Callable[[RowOutcome], None],
    *,
    clock: Callable[[], float] = time.monotonic,
    rng: random.Random | None = None,
) -> Summary:
    """Return once every row has its outcome. `on_outcome` is called on the event loop, in any order."""
    summary = Summary()
    started_s = clock()

    def settle(outcome: RowOutcome) -> None:
        summary.rows += 1
        match outcome:
            case Accepted():
                summary.accepted += 1
            case Rejected():
                summary.rejected += 1
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
            # The first row alone: until the edge has received the quiz, only this row is retried.
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
                settle(Rejected(line, problem))


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
        """Post with one key until the row is accepted, finally rejected, or time is up.

        Until `known_by_s`, an answer that quiz or token is unknown is retried too.
        """
        phone = row.contact
        if self._plan.table.contact_column is None:
            if row.line >= ROWS_MAX:
                return Rejected(row.line, f"over {ROWS_MAX} lines: no further contacts can be generated")
            phone = demo_phone(self._plan.quiz_id, row.line)
        body = msgspec.json.encode(
            {
                "submitted_at": self._submitted_at,
                "answers": row.answers,
                **({} if phone is None else {"contact": self._contact(phone)}),
            }
        )
        # The edge adds tenant, quiz and contact to the key when it computes the id.
        headers = {"Idempotency-Key": f"replay-line-{row.line}"}
        give_up_at_s = self._clock() + self._plan.give_up_after_s
        backoff = Backoff(BACKOFF_FIRST_S, BACKOFF_MAX_S, BACKOFF_JITTER_RATIO, self._rng)
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
                        return Rejected(row.line, problem)
                    retry_after_s = _retry_after_s(response.headers.get("Retry-After", ""))
            except (aiohttp.ClientError, TimeoutError, OSError, msgspec.DecodeError) as error:
                problem = f"no answer from {self._plan.edge_url} ({type(error).__name__})"
            if self._clock() > give_up_at_s:
                return GaveUp(row.line, problem)
            self._summary.retries += 1
            # What the edge asks for is jittered too: it says the same to every client.
            asked_s = retry_after_s * self._rng.uniform(1.0, 1.0 + BACKOFF_JITTER_RATIO)
            await asyncio.sleep(max(asked_s, backoff.after_failure_s()))

    def _contact(self, phone: str) -> dict[str, str]:
        email = {"email": f"{phone.removeprefix('+')}@pessoa.example"} if self._plan.emails else {}
        return {"phone": phone, **email}


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
    """Return one line from a problem document (RFC 9457), or only the status."""
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
