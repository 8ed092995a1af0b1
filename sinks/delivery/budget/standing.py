"""What is left of each budget, and when all that waits will have gone.

The forecast counts places: those that are free, and when each use leaves the window. It assumes that nothing
fails, and that deliveries without a route will be spread equally over the tenant's numbers.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from psycopg import AsyncConnection

from sinks.delivery.budget.policy import DAY_S, BudgetPolicy, lower_of
from sinks.delivery.pacing.budget import Budget, cycle_of, last_place
from sinks.postgres.connect import Connection
from sinks.postgres.named_rows import fetch, named
from sinks.postgres.queries import load_queries

QUERIES = load_queries(Path(__file__).with_name("standing.sql"))

Found = TypeVar("Found")


class Standing(NamedTuple):
    """Of one budget. `waiting` deliveries need it; the last goes in `ends_in_s` (None: never, at this limit).

    `limit` None: unlimited.
    """

    budget_id: str
    numbers: list[str]
    limit: int | None
    used: int
    waiting: int
    ends_in_s: float | None

    @property
    def free(self) -> int | None:
        return None if self.limit is None else max(0, self.limit - self.used)

    def __str__(self) -> str:
        if self.limit is None:
            return "unlimited"
        text = f"{self.used:,} of {self.limit:,} in 24 h"
        return text if not self.waiting else f"{text}, {self.waiting:,} wait, {ends_text(self.ends_in_s)}"


class _Listed(NamedTuple):
    budget_id: str
    provider: str
    numbers: list[str]
    messages_per_day: int | None
    reported_max: int | None
    uses_max: int | None
    age_s: float
    used: int


class _Waiting(NamedTuple):
    tenant_id: str
    route: str | None
    waiting: int


class _Share(NamedTuple):
    tenant_id: str
    number_id: str
    budget_id: str | None


class _Expiry(NamedTuple):
    in_s: float


class _Query(NamedTuple):
    name: str
    row_type: type[Any]
    parameters: dict[str, Any]


def ends_text(ends_in_s: float | None) -> str:
    """As operators read it: 'ends in 3.2 days'."""
    if ends_in_s is None:
        return "never ends at this limit"
    if ends_in_s < 3_600:
        return f"ends in {ends_in_s / 60:.0f} minutes"
    if ends_in_s < 2 * DAY_S:
        return f"ends in {ends_in_s / 3_600:.1f} hours"
    return f"ends in {ends_in_s / DAY_S:.1f} days"


def read_standings(connection: Connection, policy: BudgetPolicy) -> list[Standing]:
    """By id of the budget."""
    steps = _standings(policy)
    try:
        query = next(steps)
        while True:
            rows = fetch(connection, QUERIES[query.name], query.row_type, query.parameters)
            query = steps.send(rows)
    except StopIteration as end:
        return list(end.value)


async def fetch_standings(
    connection: AsyncConnection[tuple[Any, ...]], policy: BudgetPolicy
) -> list[Standing]:
    """As `read_standings`, in a sender."""
    steps = _standings(policy)
    try:
        query = next(steps)
        while True:
            async with connection.cursor(row_factory=named(query.row_type)) as cursor:
                found = await cursor.execute(QUERIES[query.name], query.parameters)
                rows = await found.fetchall()
            query = steps.send(rows)
    except StopIteration as end:
        return list(end.value)


def _standings(policy: BudgetPolicy) -> Generator[_Query, list[Any], list[Standing]]:
    given = {"sessions": policy.sessions, "window_s": policy.window_s}
    listed: list[_Listed] = yield _Query("list_budgets", _Listed, given)
    waiting: list[_Waiting] = yield _Query("waiting_by_route", _Waiting, {})
    shares: list[_Share] = yield _Query("numbers_of_tenants", _Share, given)
    unrouted = _spread({row.tenant_id: row.waiting for row in waiting if row.route is None}, shares)
    routed: Counter[str] = Counter()
    for each in waiting:
        routed[each.route or ""] += each.waiting
    standings = []
    for row in listed:
        people_max = lower_of(row.uses_max, row.reported_max)
        limit_in = policy.limit_of(row.provider, row.age_s, row.messages_per_day, people_max)
        needed = sum(routed[number_id] for number_id in row.numbers) + round(unrouted[row.budget_id])
        if limit_in is None:
            standings.append(Standing(row.budget_id, row.numbers, None, row.used, needed, 0.0))
            continue
        budget = Budget(limit_in(0), row.used)
        place = last_place(budget, needed)
        ends_in_s: float | None = 0.0
        if place is not None:
            found = cycle_of(place, limit_in)
            ends_in_s = None
            if found is not None:
                about = {"budget_id": row.budget_id, "window_s": policy.window_s, "nth": found[1]}
                expiries: list[_Expiry] = yield _Query("nth_expiry", _Expiry, about)
                first_s = expiries[0].in_s if expiries else policy.window_s
                ends_in_s = first_s + found[0] * policy.window_s
        standings.append(Standing(row.budget_id, row.numbers, budget.limit, row.used, needed, ends_in_s))
    return standings


def _spread(waiting: dict[str, int], shares: Sequence[_Share]) -> defaultdict[str, float]:
    """Of the deliveries without a route, those that each budget is to carry."""
    numbers = Counter(row.tenant_id for row in shares)
    found: defaultdict[str, float] = defaultdict(float)
    for row in shares:
        if row.budget_id is not None:
            found[row.budget_id] += waiting.get(row.tenant_id, 0) / numbers[row.tenant_id]
    return found
