"""A router and a ledger over the database of a test, without a sender."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from uuid import uuid4

import msgspec

from schemas.records import Campaign
from sinks.delivery.ledger import Ledger
from sinks.delivery.routing.router import Router
from sinks.delivery.rows import Leased
from sinks.postgres.pool import open_pool
from tests.support.sender_world import World

OLD, NEW, THIRD = "551100000001", "551100000002", "551100000003"
ROUNDS_MAX = 2  # of a sender's routing, half a second each: far within the 5 s that are promised


class Office:
    """A router and a ledger over the same database."""

    def __init__(self, world: World, router: Router, ledger: Ledger) -> None:
        self.world, self.router, self.ledger = world, router, ledger

    async def rounds(self, count: int = ROUNDS_MAX) -> None:
        for _ in range(count):
            await self.router.route_unrouted()
            await self.router.follow_changes()

    async def claim(self, places: Mapping[str, int]) -> list[Leased]:
        return await self.ledger.claim(places, lease_token=uuid4(), lease_s=60)

    def routes(self) -> dict[str, str | None]:
        return dict(self.world.db.execute("SELECT contact_id, route FROM deliveries").fetchall())

    def shares(self) -> Counter[str | None]:
        return Counter(self.routes().values())


@asynccontextmanager
async def office_of(world: World, batch_max: int = 1_000, held: Sequence[str] = ()) -> AsyncIterator[Office]:
    """`held`: numbers whose lease is this process's."""
    pool = open_pool(world.database_url, connections_max=8, statement_timeout_ms=30_000)
    await pool.open()
    try:
        if held:
            world.db.execute(
                "UPDATE sender_numbers SET lease_owner = 'me', fencing_token = 1, leased_until = '2999-01-01'"
                " WHERE number_id = ANY (%s)",
                [list(held)],
            )
        yield Office(world, Router(pool, patience_s=60.0, batch_max=batch_max), Ledger(pool))
    finally:
        await pool.close()


def story(
    world: World,
    tell: Callable[[Office], Awaitable[None]],
    batch_max: int = 1_000,
    held: Sequence[str] = (),
) -> None:
    async def run() -> None:
        async with office_of(world, batch_max, held) as office:
            await tell(office)

    asyncio.run(run())


def change(world: World, campaign_id: str, **fields: object) -> None:
    """Other fields of a campaign's version, as it is stored."""
    row = world.db.execute(
        "SELECT definition FROM campaign_versions WHERE campaign_id = %s", [campaign_id]
    ).fetchone()
    assert row is not None
    changed = msgspec.structs.replace(msgspec.convert(row[0], Campaign), **fields)
    world.db.execute(
        "UPDATE campaign_versions SET definition = %s WHERE campaign_id = %s",
        [msgspec.json.encode(changed).decode(), campaign_id],
    )
