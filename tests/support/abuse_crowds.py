"""Who sends in an abuse world: people of the demo's data sets behind one address, and scripts."""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ops.demo import datasets
from ops.demo.answer_table import AnswerTable, Row
from ops.demo.phones import demo_phone
from schemas.records import Answer
from tests.support.abuse_world import World

BACKOFF_FIRST_S, BACKOFF_MAX_S = 1.0, 300.0


@dataclass(frozen=True)
class Person:
    address: str
    quiz_id: str
    answers: dict[str, Answer]
    phone: str | None
    at_ms: int


@dataclass(frozen=True)
class Script:
    """Sends at a constant rate. `content` of the n-th request."""

    address: str
    quiz_id: str
    per_s: float
    content: Callable[[int], tuple[dict[str, Answer] | None, str | None]]
    from_ms: int = 0
    solves: bool = False  # it keeps every ticket, and sends with each


def respondents(folder: Path, quiz_id: str) -> list[tuple[dict[str, Answer], str]]:
    """Answers and phone of every row, as `quizstream replay` sends them."""
    rows = AnswerTable.open(datasets.extract(folder)[quiz_id]).rows()
    return [(dict(row.answers), demo_phone(quiz_id, row.line)) for row in rows if isinstance(row, Row)]


async def play(
    world: World,
    people: Iterable[Person] = (),
    scripts: Sequence[Script] = (),
    until_ms: int = 0,
    *,
    patient: bool = True,
    seed: int = 1,
    waits_ms: list[int] | None = None,
) -> int:
    """Play until everybody is accepted and the time is over; return how many people were accepted.

    A person's client waits as long as it is told and then backs off; with a ticket it only waits.
    `patient`: people who are not accepted in time are waited for. `waits_ms` gets how late each was accepted.
    """
    rng = random.Random(seed)
    ways = list(people)
    # (time, order, person or script, attempt or number, ticket)
    due: list[tuple[int, int, Person | Script, int, str]] = []
    order = 0
    everybody: list[Person | Script] = [*ways, *scripts]
    for one in everybody:
        at_ms = one.at_ms if isinstance(one, Person) else one.from_ms
        due.append((at_ms, order := order + 1, one, 0, ""))
    heapq.heapify(due)
    accepted = 0
    began_ms = world.clock.ms
    tickets: dict[str, deque[tuple[int, str]]] = {}
    while due:
        at_ms, _, one, number, ticket = heapq.heappop(due)
        if at_ms > until_ms and (isinstance(one, Script) or not patient):
            continue
        await world.until(began_ms + at_ms)
        if isinstance(one, Script):
            answers, phone = one.content(number)
            held = tickets.setdefault(one.address, deque())
            ready = held.popleft()[1] if held and held[0][0] <= at_ms else ""
            sent = await world.send(one.address, answers, phone, quiz_id=one.quiz_id, ticket=ready)
            if one.solves and sent.ticket:
                held.append((at_ms + sent.retry_after_s * 1000, sent.ticket))
            heapq.heappush(due, (at_ms + int(1000 / one.per_s), order := order + 1, one, number + 1, ""))
            continue
        sent = await world.send(
            one.address, one.answers, one.phone, quiz_id=one.quiz_id, ticket=ticket, key=str(id(one))
        )
        if sent.status == 202:
            accepted += 1
            if waits_ms is not None:
                waits_ms.append(at_ms - one.at_ms)
            continue
        if not sent.ticket:
            number += 1
        backoff_s = rng.uniform(0, min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** max(0, number - 1)))
        wait_ms = int((sent.retry_after_s + (rng.random() if sent.ticket else backoff_s)) * 1000)
        heapq.heappush(due, (at_ms + wait_ms, order := order + 1, one, number, sent.ticket))
    await world.until(began_ms + until_ms)
    return accepted


def a_script(phones: int = 0) -> Callable[[int], tuple[dict[str, Answer], str]]:
    """Always the same answers, and another phone each time; `phones`: from which row on."""
    return lambda number: ({f"q{n}": "a" for n in range(16)}, demo_phone("attack", phones + number))


def a_walk(first: int) -> Callable[[int], tuple[dict[str, Answer], str]]:
    """Random answers, and one phone after the other."""
    rng = random.Random(first)
    return lambda number: (
        {f"q{n}": rng.choice("abcdefgh") for n in range(16)},
        f"+55479{first + number:08d}",
    )


def a_mimic(seed: int) -> Callable[[int], tuple[dict[str, Answer], str]]:
    """Random answers and phones: nothing but the rate differs from a crowd."""
    rng = random.Random(seed)
    return lambda number: (
        {f"q{n}": rng.choice("abcdefgh") for n in range(16)},
        demo_phone(f"mimic-{seed}", rng.randrange(9_000_000)),
    )
