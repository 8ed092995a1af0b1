"""The ledger of one process and the number it calls from, for tests of its transactions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

from sinks.delivery.ledger import Ledger
from sinks.delivery.numbers import Number, Numbers
from sinks.delivery.routing.router import Router
from sinks.delivery.rows import (
    Attempt,
    Leased,
    Marked,
    NotMarked,
)
from sinks.postgres.pool import Pool, open_pool
from tests.support.sender_world import NUMBER, World

LEASE_S = 60.0
KEY = b"key of this test"


def numbers_of(pool: Pool, owner: str, lease_s: float = LEASE_S) -> Numbers:
    return Numbers(
        pool,
        owner=owner,
        providers=["meta-cloud"],
        lease_s=lease_s,
        has_credential=lambda _name: True,
        clock=lambda: 0.0,
    )


class Desk:
    """A ledger, and the number it calls from."""

    def __init__(self, pool: Pool, number: Number) -> None:
        self.pool = pool
        self.ledger = Ledger(pool, KEY)
        self.router = Router(pool, patience_s=60.0)
        self.number = number

    async def claim(self, limit: int = 10, lease_s: float = LEASE_S) -> list[Leased]:
        """Of what is routed to its number, once all that waits is routed."""
        await self.router.route_unrouted()
        places = {self.number.number_id: limit}
        return await self.ledger.claim(places, lease_token=uuid4(), lease_s=lease_s)

    async def mark(
        self, leased: Leased, attempt_id: UUID | None = None, lease_s: float = LEASE_S
    ) -> Marked | NotMarked:
        attempt = Attempt(leased, attempt_id or uuid4(), self.number.number_id, self.number.fencing_token)
        return (await self.ledger.mark([attempt], lease_s=lease_s))[0]


@asynccontextmanager
async def desk_of(world: World, connections_max: int = 12) -> AsyncIterator[Desk]:
    pool = open_pool(world.database_url, connections_max=connections_max, statement_timeout_ms=30_000)
    await pool.open()
    try:
        holding = await numbers_of(pool, "me").lease()
        yield Desk(pool, holding.numbers[NUMBER])
    finally:
        await pool.close()


def story(world: World, tell: Callable[[Desk], Awaitable[None]]) -> None:
    """Runs `tell` with one number of ours."""

    async def run() -> None:
        world.number()
        async with desk_of(world) as desk:
            await tell(desk)

    asyncio.run(run())
