"""The queue of each budget: it moves up where there are more places than expected.

A person who got nothing gives a place back, a limit is raised or ends, a delivery of the queue is cancelled:
the first of the queue are then due at once instead of at the time that was expected. Nothing is polled
meanwhile. A delivery whose number has another budget by now leaves the queue with its new route
(`sinks/delivery/routing`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from sinks.delivery.budget import gate
from sinks.delivery.budget.policy import CLAIM_MAX_S, BudgetPolicy
from sinks.delivery.budget.standing import Standing, ends_text, fetch_standings
from sinks.postgres.named_rows import named
from sinks.postgres.queries import load_queries

log = logging.getLogger(__name__)

QUERIES = load_queries(Path(__file__).with_name("waiting.sql"))
WAITING_EVERY_S = 15.0
ENDED_BATCH_MAX = 1_000
RELEASED_BATCH_MAX = 1_000
AGAIN_AFTER_S = WAITING_EVERY_S * 0.7  # rounds have jitter

Connection = AsyncConnection[tuple[Any, ...]]


class _Queue(NamedTuple):
    budget_id: str


class _Counts(NamedTuple):
    uses: int
    due: int


class Waiting:
    """Of one process; of several, one moves a queue up in the time of a round."""

    def __init__(self, pool: AsyncConnectionPool[Connection], policy: BudgetPolicy) -> None:
        self._pool = pool
        self._policy = policy
        self._full: set[str] = set()

    async def round(self) -> list[Standing]:
        """Moves each queue up; returns what is left of every budget."""
        async with self._pool.connection() as connection:
            standings = await fetch_standings(connection, self._policy)
            async with connection.cursor(row_factory=named(_Queue)) as cursor:
                queues = await (await cursor.execute(QUERIES["queues"])).fetchall()
            for queue in queues:
                async with connection.transaction():
                    unlimited = await self._move_up(connection, queue.budget_id)
                if unlimited:
                    await self._release(connection, queue.budget_id)
        self._report(standings)
        return standings

    async def _move_up(self, connection: Connection, budget_id: str) -> bool:
        """Returns whether it has no limit: none of the queue has to wait any more."""
        given: dict[str, Any] = {"budget_id": budget_id, "claim_s": CLAIM_MAX_S}
        taken = await connection.execute(QUERIES["take_queue"], given | {"again_after_s": AGAIN_AFTER_S})
        if taken.rowcount != 1:
            return False
        limited = await gate.lock_one(connection, self._policy, budget_id)
        if limited is None:
            return True
        await connection.execute(QUERIES["end_passed"], given | {"limit": ENDED_BATCH_MAX})
        counts = await self._recount(connection, given)
        places = limited.limit_in(0) - counts.uses - counts.due
        if places > 0:
            await connection.execute(QUERIES["move_up"], given | {"places": places})
        return False

    async def _release(self, connection: Connection, budget_id: str) -> None:
        """In batches: a mark that waits for one of the deliveries waits for no more than a batch."""
        given: dict[str, Any] = {"budget_id": budget_id, "claim_s": CLAIM_MAX_S}
        released = RELEASED_BATCH_MAX
        while released == RELEASED_BATCH_MAX:
            async with connection.transaction():
                done = await connection.execute(QUERIES["release"], given | {"limit": RELEASED_BATCH_MAX})
                released = done.rowcount
        async with connection.transaction():
            await self._recount(connection, given)

    async def _recount(self, connection: Connection, given: dict[str, Any]) -> _Counts:
        async with connection.cursor(row_factory=named(_Counts)) as cursor:
            (counts,) = await (await cursor.execute(QUERIES["recount"], given)).fetchall()
        return counts

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
