"""Budgets at the mark: who may be called now, counted in the transaction that lets them pass.

PostgreSQL is the authority. The rows of the budgets are locked from before they are judged until the commit,
so that no two processes spend the same place, and what is counted is as durable as the mark. A delivery
without a place is not called: it waits, due when a place is free.

Locks are taken in one order: budgets, then numbers, then deliveries.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from sinks.delivery.budget.policy import CLAIM_MAX_S, DAY_S, SERVICE_WINDOW_S, BudgetPolicy, lower_of
from sinks.delivery.pacing.budget import Ask, Budget, cycle_of, judge
from sinks.postgres.named_rows import named
from sinks.postgres.queries import load_queries

QUERIES = load_queries(Path(__file__).with_name("gate.sql"))

# Messages of a person that certainly open the 24 h in which they may be answered.
OPENING_KINDS = ["text", "button", "interactive", "image", "video", "audio", "voice", "document", "location"]

Row = TypeVar("Row")


class Mark(Enum):
    """What the mark did to a delivery. LOST: another process has it by now."""

    CALLED = 1
    WAITS = 2
    ENDED = 3
    LOST = 4


class Wanted(NamedTuple):
    """A call that is about to be marked."""

    campaign_month: date
    campaign_id: str
    contact_id: str
    number_id: str
    attempt_id: UUID


class _Found(NamedTuple):
    number_id: str
    provider: str
    messages_per_day: int | None
    budget_id: str | None
    reported_max: int | None
    uses_max: int | None
    begun: bool


class _Standing(NamedTuple):
    budget_id: str
    uses_max: int | None
    age_s: float
    uses: int
    booked: dict[str, int]


class _Uses(NamedTuple):
    budget_id: str
    uses: int


class _Asked(NamedTuple):
    position: int
    subject: str
    priority: int
    counted: bool
    answered: bool
    booked: bool
    before: int


class _Expiry(NamedTuple):
    in_s: float


@dataclass(frozen=True)
class Limited:
    """One budget, judged: `limit_in` so many windows ahead."""

    budget_id: str
    budget: Budget
    limit_in: Callable[[int], int]

    @property
    def reason(self) -> str:
        kind, _, name = self.budget_id.partition(":")
        if kind == "portfolio":
            return f"the portfolio {name} has written to its {self.budget.limit:,} people of 24 h"
        return f"the number has sent its {self.budget.limit:,} messages of 24 h"


@dataclass(frozen=True)
class Plan:
    """For each call, in order: `due_in_s` None, it has its place; else what its delivery waits, and why."""

    wanted: Sequence[Wanted]
    due_in_s: list[float | None]
    reasons: list[str | None]
    budgets: list[str | None]
    asked: Mapping[int, _Asked]
    limited: Mapping[str, Limited] = field(default_factory=dict)


class Gate:
    """Of one process."""

    def __init__(self, policy: BudgetPolicy) -> None:
        self._policy = policy

    async def plan(self, connection: AsyncConnection[tuple[Any, ...]], wanted: Sequence[Wanted]) -> Plan:
        """Locks the budgets on which these calls depend, and judges them. Followed by one `settle`."""
        count = len(wanted)
        plan = Plan(wanted, [None] * count, [None] * count, [None] * count, {})
        found = await self._find(connection, sorted({one.number_id for one in wanted}))
        if not found:
            return plan
        limited = await _lock(connection, self._policy, found)
        of_number = {one.number_id: one.budget_id for one in found if one.budget_id in limited}
        plan.budgets[:] = [of_number.get(one.number_id) for one in wanted]
        asked = await self._read(connection, plan)
        for one_of in limited.values():
            await self._judge(connection, one_of, plan, asked)
        return dataclasses.replace(plan, asked=asked, limited=limited)

    async def settle(
        self, connection: AsyncConnection[tuple[Any, ...]], plan: Plan, marks: Sequence[Mark]
    ) -> None:
        """Counts what was marked, and books what waits for a place. `marks`: in the order of the plan."""
        used: list[tuple[str, str, UUID]] = []
        waiting: list[tuple[Wanted, str, float]] = []
        ended: list[Wanted] = []
        booked: defaultdict[str, Counter[int]] = defaultdict(Counter)
        for position, asked in plan.asked.items():
            one, budget_id, mark = plan.wanted[position], plan.budgets[position], marks[position]
            if budget_id is None or mark is Mark.LOST:
                continue
            if mark is Mark.CALLED and not asked.answered:
                used.append((budget_id, asked.subject, one.attempt_id))
            due_in_s = plan.due_in_s[position]
            if mark is Mark.WAITS and due_in_s is not None:
                waiting.append((one, budget_id, due_in_s))
                booked[budget_id][asked.priority] += not asked.booked
            elif mark is not Mark.WAITS and asked.booked:
                ended.append(one)
                booked[budget_id][asked.priority] -= 1
        if used:
            columns = {
                "budgets": [budget_id for budget_id, _, _ in used],
                "subjects": [subject for _, subject, _ in used],
                "attempt_ids": [attempt_id for _, _, attempt_id in used],
            }
            await connection.execute(_query("count_uses"), columns)
        if ended:
            await connection.execute(_query("end_bookings"), _keys(ended))
        if waiting:
            more = {
                "budgets": [budget_id for _, budget_id, _ in waiting],
                "due_in_s": [due_in_s for _, _, due_in_s in waiting],
            }
            await connection.execute(_query("book"), _keys([one for one, *_ in waiting]) | more)
        if any(change for changes in booked.values() for change in changes.values()):
            counts = {
                budget_id: _sum(plan.limited[budget_id], changes) for budget_id, changes in booked.items()
            }
            columns = {"budgets": list(counts), "booked": [Jsonb(each) for each in counts.values()]}
            await connection.execute(_query("count_booked"), columns)

    async def give_back(
        self,
        connection: AsyncConnection[tuple[Any, ...]],
        rejected: Sequence[UUID],
        not_called: Sequence[UUID],
    ) -> None:
        """Takes back what was counted for calls that certainly sent nothing. Again it changes nothing."""
        given = {"attempt_ids": [*rejected, *not_called], "not_called": list(not_called)}
        if not given["attempt_ids"]:
            return
        found = await connection.execute(_query("budgets_of_attempts"), given)
        if await found.fetchall():
            await connection.execute(_query("uncount_uses"), given)

    async def _find(
        self, connection: AsyncConnection[tuple[Any, ...]], numbers: Sequence[str]
    ) -> list[_Found]:
        """Of the numbers that have a limit."""
        given = {"numbers": list(numbers), "sessions": self._policy.sessions}
        found = await _fetch(connection, "find_budgets", _Found, given)
        limited = [
            one
            for one in found
            if one.budget_id is not None
            and (one.provider in self._policy.curves or (one.uses_max, one.reported_max) != (None, None))
        ]
        if missing := sorted({one.budget_id or "" for one in limited if not one.begun}):
            await connection.execute(_query("begin_budgets"), {"budgets": missing})
        return limited

    async def _read(self, connection: AsyncConnection[tuple[Any, ...]], plan: Plan) -> dict[int, _Asked]:
        places = [position for position, budget_id in enumerate(plan.budgets) if budget_id is not None]
        some = [plan.wanted[position] for position in places]
        budgets = [plan.budgets[position] or "" for position in places]
        parameters = {
            **_keys(some),
            "positions": places,
            "numbers": [one.number_id for one in some],
            "budgets": budgets,
            "by_person": [budget_id.startswith("portfolio:") for budget_id in budgets],
            "attempt_ids": [one.attempt_id for one in some],
            "opening": OPENING_KINDS,
            "service_window_s": SERVICE_WINDOW_S,
            "claim_s": CLAIM_MAX_S,
        }
        return {row.position: row for row in await _fetch(connection, "read_asks", _Asked, parameters)}

    async def _judge(
        self,
        connection: AsyncConnection[tuple[Any, ...]],
        one_of: Limited,
        plan: Plan,
        asked: Mapping[int, _Asked],
    ) -> None:
        mine = [position for position in asked if plan.budgets[position] == one_of.budget_id]
        asks = [
            Ask(row.subject, row.priority, not (row.counted or row.answered), row.booked, row.before)
            for row in (asked[position] for position in mine)
        ]
        places = judge(one_of.budget, asks)
        cycles = {place: cycle_of(place, one_of.limit_in) for place in places if place is not None}
        nth = [found[1] for found in cycles.values() if found is not None]
        if not cycles:
            return
        expiries = await self._expiries(connection, one_of.budget_id, nth)
        for position, place in zip(mine, places, strict=True):
            if place is None:
                continue
            found = cycles[place]
            # A use of this very transaction, or a limit of none: a whole window.
            window_s = self._policy.window_s
            due_in_s = window_s
            if found is not None:
                due_in_s = expiries.get(found[1], window_s) + found[0] * window_s
            plan.due_in_s[position] = min(due_in_s, DAY_S * 365)
            plan.reasons[position] = one_of.reason

    async def _expiries(
        self, connection: AsyncConnection[tuple[Any, ...]], budget_id: str, nth: Sequence[int]
    ) -> dict[int, float]:
        if not nth:
            return {}
        first, count = min(nth), max(nth) - min(nth) + 1
        given = {"budget_id": budget_id, "first": first, "count": count, "window_s": self._policy.window_s}
        rows = await _fetch(connection, "read_expiries", _Expiry, given)
        return {first + position: row.in_s for position, row in enumerate(rows)}


async def lock_one(
    connection: AsyncConnection[tuple[Any, ...]], policy: BudgetPolicy, budget_id: str
) -> Limited | None:
    """The budget, locked until the transaction ends; None where it has no limit, or no number."""
    given = {"budget_id": budget_id, "sessions": policy.sessions}
    found = await _fetch(connection, "number_of_budget", _Found, given)
    return (await _lock(connection, policy, found)).get(budget_id)


async def _lock(
    connection: AsyncConnection[tuple[Any, ...]], policy: BudgetPolicy, found: Sequence[_Found]
) -> dict[str, Limited]:
    """The budgets, locked, without what has left their windows."""
    by_budget = {one.budget_id or "": one for one in found}
    names = {"budgets": sorted(by_budget), "window_s": policy.window_s}
    rows = await _fetch(connection, "lock_budgets", _Standing, names)
    left = {row.budget_id: row.uses for row in await _fetch(connection, "expire_uses", _Uses, names)}
    limited = {}
    for row in rows:
        one = by_budget[row.budget_id]
        people_max = lower_of(row.uses_max, one.reported_max)
        limit_in = policy.limit_of(one.provider, row.age_s, one.messages_per_day, people_max)
        if limit_in is not None:
            uses = left.get(row.budget_id, row.uses)
            booked = {int(priority): count for priority, count in row.booked.items()}
            budget = Budget(limit_in(0), uses, booked)
            limited[row.budget_id] = Limited(row.budget_id, budget, limit_in)
    return limited


def _sum(limited: Limited, changes: Mapping[int, int]) -> dict[int, int]:
    """How many wait for this budget now, by priority."""
    counts = Counter(limited.budget.booked)
    counts.update(changes)
    return {priority: count for priority, count in sorted(counts.items()) if count > 0}


def _query(name: str) -> Any:
    return QUERIES[name]


def _keys(some: Sequence[Wanted]) -> dict[str, Any]:
    return {
        "months": [one.campaign_month for one in some],
        "campaigns": [one.campaign_id for one in some],
        "contacts": [one.contact_id for one in some],
    }


async def _fetch(
    connection: AsyncConnection[tuple[Any, ...]], name: str, row_type: type[Row], parameters: dict[str, Any]
) -> list[Row]:
    async with connection.cursor(row_factory=named(row_type)) as cursor:
        return await (await cursor.execute(QUERIES[name], parameters)).fetchall()
