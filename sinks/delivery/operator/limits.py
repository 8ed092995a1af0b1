"""What operators decide about budgets: portfolios, their limits of people, the days of session numbers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from sinks.delivery.budget.policy import BudgetPolicy, lower_of
from sinks.delivery.statements import statement
from sinks.postgres.audit_log import record
from sinks.postgres.catalogue.numbers import NumberRejected, UnknownNumber
from sinks.postgres.connect import Connection
from sinks.postgres.named_rows import fetch
from sinks.postgres.queries import load_queries

QUERIES = load_queries(Path(__file__).with_name("limits.sql"))
PORTFOLIO = re.compile(r"[A-Za-z0-9._-]{1,64}")
PEOPLE_MAX = 100_000_000
DAYS_MAX = 3_650


class LimitsChange(NamedTuple):
    """None changes nothing. `unlimited` ends the operator's limit; one that the provider reports stays.

    `day` of the growing limit of a session number, the first being 1.
    """

    portfolio_id: str | None = None
    people_max: int | None = None
    unlimited: bool = False
    day: int | None = None


class _Standing(NamedTuple):
    number_id: str
    provider: str
    budget_id: str | None
    portfolio_id: str | None
    account_id: str | None
    reported_max: int | None
    uses_max: int | None

    @property
    def people_max(self) -> int | None:
        return lower_of(self.uses_max, self.reported_max)


def change_limits(
    connection: Connection, actor: str, number_id: str, change: LimitsChange, policy: BudgetPolicy
) -> None:
    """In force with the next mark, in every process. Raises `UnknownNumber` and `NumberRejected`.

    Where a portfolio had no limit before, the people to whom its numbers wrote in the last 24 h are counted,
    also those of marks that are not committed yet: it waits for them.
    """
    with connection.transaction():
        connection.execute(statement("shut_out_marks"))
        before = _standing(connection, number_id, policy)
        if problems := _problems(before, change, policy):
            raise NumberRejected(number_id, problems)
        budget_id = f"portfolio:{change.portfolio_id}" if change.portfolio_id else before.budget_id or ""
        # First the budget, then the number: the order in which a sender locks them.
        connection.execute(QUERIES["hold_budget"], {"budget_id": budget_id})
        if change.people_max is not None or change.unlimited:
            connection.execute(QUERIES["set_limit"], {"budget_id": budget_id, "uses_max": change.people_max})
        if change.day is not None:
            connection.execute(QUERIES["set_day"], {"budget_id": budget_id, "day": change.day})
        if change.portfolio_id is not None:
            about = {"portfolio_id": change.portfolio_id, "number_id": number_id}
            connection.execute(QUERIES["set_portfolio"], about)
        after = _standing(connection, number_id, policy)
        is_new = before.people_max is None or before.budget_id != after.budget_id
        if after.provider not in policy.curves and after.people_max is not None and is_new:
            _count_past(connection, budget_id, policy)
        given = {name: value for name, value in change._asdict().items() if value is not None}
        record(connection, actor, "number.limit", number_id, budget=budget_id, **given)


def _standing(connection: Connection, number_id: str, policy: BudgetPolicy) -> _Standing:
    given = {"number_id": number_id, "sessions": policy.sessions}
    found = fetch(connection, QUERIES["number_standing"], _Standing, given)
    if not found:
        raise UnknownNumber(number_id)
    return found[0]


def _problems(standing: _Standing, change: LimitsChange, policy: BudgetPolicy) -> list[str]:
    problems = []
    is_session = standing.provider in policy.curves
    of_portfolio = change.portfolio_id is not None or change.people_max is not None or change.unlimited
    if not of_portfolio and change.day is None:
        problems.append("give what to change: a portfolio, a limit of people, or a day")
    if is_session and of_portfolio:
        problems.append(f"a number of {standing.provider} has no portfolio: its limit is of messages a day")
    if not is_session and change.day is not None:
        problems.append(f"a number of {standing.provider} has no growing limit: --day is of sessions")
    if change.portfolio_id is not None and not PORTFOLIO.fullmatch(change.portfolio_id):
        problems.append("the portfolio must be letters, digits, '.', '_' and '-', at most 64")
    if change.people_max is not None and change.unlimited:
        problems.append("give a limit of people, or unlimited")
    if change.people_max is not None and not 0 <= change.people_max <= PEOPLE_MAX:
        problems.append(f"the limit must lie between 0 and {PEOPLE_MAX} people")
    if change.day is not None and not 1 <= change.day <= DAYS_MAX:
        problems.append(f"the day must lie between 1 and {DAYS_MAX}")
    known = change.portfolio_id or standing.portfolio_id or standing.account_id
    if not is_session and (change.people_max is not None or change.unlimited) and known is None:
        problems.append("its portfolio is not known: no webhook has stated its account yet; give --portfolio")
    return problems


def _count_past(connection: Connection, budget_id: str, policy: BudgetPolicy) -> None:
    given = {"budget_id": budget_id, "window_s": policy.window_s, "sessions": policy.sessions}
    connection.execute(QUERIES["count_past"], given)
    connection.execute(QUERIES["count_newest"], given)
    connection.execute(QUERIES["recount_uses"], given)
