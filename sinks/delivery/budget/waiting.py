"""The queue of each budget: it moves up where there are more places than expected.

A person who got nothing gives a place back, a limit is raised, a delivery of the queue is cancelled: the
first of the queue are then due at once instead of at the time that was expected. Nothing is polled meanwhile.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from sinks.delivery.budget import gate
from sinks.delivery.budget.policy import BudgetPolicy
from sinks.delivery.budget.standing import Standing, ends_text, fetch_standings
from sinks.postgres.named_rows import named
from sinks.postgres.queries import load_queries

log = logging.getLogger(__name__)

QUERIES = load_queries(Path(__file__).with_name("waiting.sql"))
WAITING_EVERY_S = 15.0
# A delivery that is due for longer has no reservation: what else keeps it from being called may take days.
CLAIM_MAX_S = 600.0
ENDED_BATCH_MAX = 1_000

Connection = AsyncConnection[tuple[Any, ...]]


class _Counts(NamedTuple):
    uses: int
    booked: int
    due: int


class Waiting:
    """Of one process; of several, one does the work of a round."""

    def __init__(self, pool: AsyncConnectionPool[Connection], policy: BudgetPolicy) -> None:
        self._pool = pool
        self._policy = policy
        self._full: set[str] = set()

    async def round(self) -> list[Standing]:
        """Moves each queue up; returns what is left of every budget."""
        async with self._pool.connection() as connection:
            standings = await fetch_standings(connection, self._policy)
            for one in standings:
                if one.waiting:
                    async with connection.transaction():
                        await self._move_up(connection, one.budget_id)
        self._report(standings)
        return standings

    async def _move_up(self, connection: Connection, budget_id: str) -> None:
        given: dict[str, Any] = {"budget_id": budget_id, "claim_s": CLAIM_MAX_S}
        limited = await gate.lock_one(connection, self._policy, budget_id)
        if limited is None:
            return
        await connection.execute(QUERIES["end_passed"], given | {"limit": ENDED_BATCH_MAX})
        async with connection.cursor(row_factory=named(_Counts)) as cursor:
            (counts,) = await (await cursor.execute(QUERIES["recount"], given)).fetchall()
        places = limited.limit_in(0) - counts.uses - counts.due
        if places > 0:
            await connection.execute(QUERIES["move_up"], given | {"places": places})

    def _report(self, standings: Sequence[Standing]) -> None:
        """Logs once that a budget is used up and deliveries wait for it, and once that none does any more."""
        full = {one.budget_id: one for one in standings if one.free == 0 and one.waiting}
        for budget_id in sorted(full.keys() - self._full):
            one = full[budget_id]
            log.warning(
                "%s: its %s places of 24 h are used up; %d deliveries wait, %s",
                *(budget_id, f"{one.limit:,}", one.waiting, ends_text(one.ends_in_s)),
            )
        for budget_id in sorted(self._full - {one.budget_id for one in standings if one.waiting}):
            log.info("%s: no delivery waits for it any more", budget_id)
        self._full = {
            one.budget_id for one in standings if one.waiting and one.budget_id in self._full
        } | full.keys()
