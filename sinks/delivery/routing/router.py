"""Keeps the route of each waiting delivery right: the number from which it is to be sent.

The sink of deliveries stores a route with the row, before a sender can claim it. What is left to do is here:
deliveries that wait again, and those whose number cannot send or is no longer the contact's, after an
operator has changed weights.
Only rows that wait are changed, so that no call of a delivery is in flight when its number changes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from pipeline.runtime.crash_points import reach
from sinks.postgres.named_rows import named
from sinks.postgres.queries import load_queries

QUERIES = load_queries(Path(__file__).with_name("routes.sql"))
LOCK_ID = 7_165_012  # of the advisory locks of pools that are routed again
BATCH_MAX = 1_000  # rows that one transaction changes
# After a change: a transaction that began before it may store old routes. The last is longer than any takes.
LOOKS_AFTER_S = (3.0, 60.0)
BATCHES_MAX = 20  # of unrouted deliveries in one round

Row = TypeVar("Row")
Connection = AsyncConnection[tuple[Any, ...]]
Pool = AsyncConnectionPool[Connection]


class ChangedPool(NamedTuple):
    """The numbers of a tenant ('*': of those without their own), as its deliveries are to be routed now."""

    tenant_id: str
    under: str
    usable: list[str]
    is_new: bool


class _Waiting(NamedTuple):
    campaign_month: date
    campaign_id: str
    contact_id: str


class _Moved(NamedTuple):
    """`before` is None of a delivery that had no route or keeps it, `number_id` of one without a number."""

    before: str | None
    number_id: str | None


class Router:
    def __init__(
        self, pool: Pool, *, patience_s: float, sessions: Sequence[str] = (), batch_max: int = BATCH_MAX
    ) -> None:
        """`patience_s`: for so long a number that does not send keeps its deliveries. `sessions`: the
        providers whose numbers have budgets of their own.
        """
        self._pool = pool
        self._numbers = {"patience_s": patience_s, "sessions": list(sessions)}
        self._batch_max = batch_max

    async def route_unrouted(self) -> int:
        """Gives deliveries that wait without a route one; returns how many, at most `BATCHES_MAX` batches."""
        routed = 0
        for _ in range(BATCHES_MAX):
            parameters = {**self._numbers, "limit": self._batch_max}
            async with self._pool.connection() as connection, connection.transaction():
                found = await _fetch(connection, "route_unrouted", _Moved, parameters)
                reach("sender.routing")
            reach("sender.routed")
            routed += len(found)
            if len(found) < self._batch_max:
                break
        return routed

    async def follow_changes(self) -> Mapping[str, int]:
        """Routes deliveries again whose numbers have changed; how many each number lost.

        Those whose number cannot send come first. Where a process was killed, the next round of any process
        does the rest: a pool counts as changed until all of its deliveries have been looked at.
        """
        moved: Counter[str] = Counter()
        for pool in await self._changed():
            await self._route_again(pool, moved)
        return moved

    async def _changed(self) -> list[ChangedPool]:
        async with self._pool.connection() as connection:
            return await _fetch(connection, "changed_pools", ChangedPool, self._numbers)

    async def _route_again(self, pool: ChangedPool, moved: Counter[str]) -> None:
        async with self._pool.connection() as connection, connection.transaction():
            lock = {"lock": LOCK_ID, "pool": pool.tenant_id}
            taken = await (await connection.execute(QUERIES["take_pool"], lock)).fetchone()
            if taken != (True,):
                return  # another process does it
            for on_usable in (False, True) if pool.is_new else (False,):
                # Closed here, also where this returns: its cursor is of this transaction.
                async with aclosing(self._waiting(connection, pool, on_usable=on_usable)) as batches:
                    async for batch in batches:
                        moved.update(await self._move(batch))
                        # A number that fails meanwhile must not wait until those of the others are done.
                        if on_usable and pool not in await self._changed():
                            return
            kept = {"pool": pool.tenant_id, "under": pool.under, "looks_after_s": list(LOOKS_AFTER_S)}
            await connection.execute(QUERIES["keep_pool"], kept)

    async def _waiting(
        self, connection: Connection, pool: ChangedPool, *, on_usable: bool
    ) -> AsyncGenerator[Sequence[_Waiting], None]:
        given = {"pool": pool.tenant_id, "usable": pool.usable, "on_usable": on_usable}
        async with connection.cursor(name="waiting", row_factory=named(_Waiting)) as cursor:
            await cursor.execute(QUERIES["waiting_of_pool"], given)
            while batch := await cursor.fetchmany(self._batch_max):
                yield batch

    async def _move(self, batch: Sequence[_Waiting]) -> Counter[str]:
        parameters = {
            **self._numbers,
            "months": [row.campaign_month for row in batch],
            "campaigns": [row.campaign_id for row in batch],
            "contacts": [row.contact_id for row in batch],
        }
        # A connection of its own: its rows are free again before the next batch is read.
        async with self._pool.connection() as connection, connection.transaction():
            moved = await _fetch(connection, "route_again", _Moved, parameters)
            reach("sender.routing")
        reach("sender.routed")
        return Counter(one.before for one in moved if one.before is not None)


async def _fetch(
    connection: Connection, name: str, row_type: type[Row], parameters: Mapping[str, Any]
) -> list[Row]:
    async with connection.cursor(row_factory=named(row_type)) as cursor:
        return await (await cursor.execute(QUERIES[name], parameters)).fetchall()
