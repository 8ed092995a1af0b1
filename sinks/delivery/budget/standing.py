"""What is left of each budget, and when all that waits will have gone.

The forecast counts places: those that are free, and when each use leaves the window. It assumes that nothing
fails, and that deliveries without a route will be spread equally over the tenant's numbers.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
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
    budget_id: str
    in_s: float


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
    given = _given(policy)
    forecast = _Forecast(
        policy,
        fetch(connection, QUERIES["list_budgets"], _Listed, given),
        fetch(connection, QUERIES["waiting_by_route"], _Waiting),
        fetch(connection, QUERIES["numbers_of_tenants"], _Share, given),
    )
    return forecast.standings(fetch(connection, QUERIES["nth_expiries"], _Expiry, given | forecast.asked))


async def fetch_standings(
    connection: AsyncConnection[tuple[Any, ...]], policy: BudgetPolicy
) -> list[Standing]:
    """As `read_standings`, in a sender."""
    given = _given(policy)
    forecast = _Forecast(
        policy,
        await _fetch(connection, "list_budgets", _Listed, given),
        await _fetch(connection, "waiting_by_route", _Waiting, {}),
        await _fetch(connection, "numbers_of_tenants", _Share, given),
    )
    return forecast.standings(await _fetch(connection, "nth_expiries", _Expiry, given | forecast.asked))


class _Last(NamedTuple):
    """The use for which the last delivery of a budget waits, so many whole windows ahead."""

    cycle: int
    nth: int


class _Forecast:
    """What the rows say; only when uses leave the window is still to be read: those in `asked`. Pure."""

    def __init__(
        self,
        policy: BudgetPolicy,
        listed: Sequence[_Listed],
        waiting: Sequence[_Waiting],
        shares: Sequence[_Share],
    ) -> None:
        self._window_s = policy.window_s
        self._listed = listed
        unrouted = _spread({row.tenant_id: row.waiting for row in waiting if row.route is None}, shares)
        routed: Counter[str] = Counter()
        for each in waiting:
            routed[each.route or ""] += each.waiting
        self._needed: dict[str, int] = {}
        self._limits: dict[str, int] = {}
        self._last: dict[str, _Last | None] = {}  # None: never; without an entry all may go now
        for row in listed:
            needed = sum(routed[number_id] for number_id in row.numbers) + round(unrouted[row.budget_id])
            self._needed[row.budget_id] = needed
            people_max = lower_of(row.uses_max, row.reported_max)
            limit_in = policy.limit_of(row.provider, row.age_s, row.messages_per_day, people_max)
            if limit_in is None:
                continue
            self._limits[row.budget_id] = limit_in(0)
            place = last_place(Budget(limit_in(0), row.used), needed)
            if place is not None:
                found = cycle_of(place, limit_in)
                self._last[row.budget_id] = None if found is None else _Last(*found)

    @property
    def asked(self) -> dict[str, Any]:
        last = {budget_id: one.nth for budget_id, one in self._last.items() if one is not None}
        return {"budgets": list(last), "nths": list(last.values())}

    def standings(self, expiries: Sequence[_Expiry]) -> list[Standing]:
        in_s = {row.budget_id: row.in_s for row in expiries}
        return [
            Standing(
                *(row.budget_id, row.numbers, self._limits.get(row.budget_id), row.used),
                *(self._needed[row.budget_id], self._ends_in_s(row.budget_id, in_s)),
            )
            for row in self._listed
        ]

    def _ends_in_s(self, budget_id: str, in_s: Mapping[str, float]) -> float | None:
        if budget_id not in self._last:
            return 0.0
        last = self._last[budget_id]
        # A use that is still to come leaves the window a whole window later.
        first_s = in_s.get(budget_id, self._window_s)
        return None if last is None else first_s + last.cycle * self._window_s


def _given(policy: BudgetPolicy) -> dict[str, Any]:
    return {"sessions": policy.sessions, "window_s": policy.window_s}


async def _fetch(
    connection: AsyncConnection[tuple[Any, ...]], name: str, row_type: type[Found], parameters: dict[str, Any]
) -> list[Found]:
    async with connection.cursor(row_factory=named(row_type)) as cursor:
        return await (await cursor.execute(QUERIES[name], parameters)).fetchall()


def _spread(waiting: dict[str, int], shares: Sequence[_Share]) -> defaultdict[str, float]:
    """Of the deliveries without a route, those that each budget is to carry."""
    numbers = Counter(row.tenant_id for row in shares)
    found: defaultdict[str, float] = defaultdict(float)
    for row in shares:
        if row.budget_id is not None:
            found[row.budget_id] += waiting.get(row.tenant_id, 0) / numbers[row.tenant_id]
    return found
