"""Senders without a provider, each with a ledger of its own, over the database of a test; and its clock.

Time passes by making everything in the database older.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from sinks.delivery.budget.policy import PORTFOLIOS_ONLY, BudgetPolicy
from sinks.delivery.ledger import Ledger
from sinks.delivery.rows import Attempt, Leased, Marked, NotMarked, Result
from sinks.delivery.state import DeliveryState
from sinks.postgres.pool import open_pool
from tests.support.desk import KEY, LEASE_S
from tests.support.sender_world import TENANT, World

DAY_S = 86_400.0
NUMBERS = [f"55110000000{place}" for place in range(4)]
BATCH = 100
FENCING_TOKEN = 1
TAKE = """
UPDATE deliveries SET route = %(number)s
WHERE state = 'waiting' AND delivery_id IN (
    SELECT delivery_id FROM deliveries
    WHERE state = 'waiting' AND due_at <= clock_timestamp() AND coalesce(route, %(number)s) = %(number)s
    ORDER BY priority DESC, due_at, created_at
    LIMIT %(limit)s
)
"""


class Clock:
    """Virtual time over the real ledger."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.now_s = 0.0

    def passes(self, seconds: float) -> None:
        self.now_s += seconds
        age = timedelta(seconds=seconds)
        for table, column in (
            ("deliveries", "due_at"),
            ("budget_uses", "used_at"),
            ("budget_bookings", "due_at"),
            ("budgets", "began_at"),
            ("budgets", "looked_at"),
            ("inbound_events", "at"),
            ("inbound_events", "received_at"),
        ):
            self._world.db.execute(f"UPDATE {table} SET {column} = {column} - %s", [age])

    def until_due_s(self) -> float | None:
        row = self._world.db.execute(
            "SELECT extract(epoch FROM min(due_at) - clock_timestamp())::double precision FROM deliveries"
            " WHERE state = 'waiting'"
        ).fetchone()
        return None if row is None or row[0] is None else max(0.0, row[0])


class Sender:
    """Calls from one number, as one process of its own."""

    def __init__(self, world: World, ledger: Ledger, number_id: str) -> None:
        self._world = world
        self.ledger = ledger
        self.number_id = number_id

    async def claim(self, limit: int = BATCH) -> list[Leased]:
        """What is due and routed to this number, or to none: which number sends is not tested here."""
        self._world.db.execute(TAKE, {"number": self.number_id, "limit": limit})
        return await self.ledger.claim({self.number_id: limit}, lease_token=uuid4(), lease_s=LEASE_S)

    async def mark(self, leased: list[Leased]) -> list[tuple[Leased, UUID, Marked | NotMarked]]:
        attempts = [Attempt(one, uuid4(), self.number_id, FENCING_TOKEN) for one in leased]
        answers = await self.ledger.mark(attempts, lease_s=LEASE_S)
        return [
            (one, attempt.attempt_id, answer)
            for one, attempt, answer in zip(leased, attempts, answers, strict=True)
        ]

    async def sends(self, limit: int = BATCH) -> list[str]:
        """The contacts that were called, all accepted."""
        called = [each for each in await self.mark(await self.claim(limit)) if isinstance(each[2], Marked)]
        await self.ends(called, DeliveryState.SENT, "sent")
        return [one.key.contact_id for one, _, _ in called]

    async def ends(self, called: list[tuple[Leased, UUID, Any]], state: DeliveryState, outcome: Any) -> None:
        results = [
            Result(
                one.key,
                attempt_id,
                state,
                outcome,
                provider_message_id=None if outcome != "sent" else uuid4().hex,
            )
            for one, attempt_id, _ in called
        ]
        if results:
            await self.ledger.record(results)


@asynccontextmanager
async def senders_of(world: World, numbers: list[str], policy: BudgetPolicy = PORTFOLIOS_ONLY) -> Any:
    """One process for each number."""
    async with AsyncExitStack() as stack:
        made = []
        for number_id in numbers:
            pool = open_pool(world.database_url, connections_max=2, statement_timeout_ms=30_000)
            await pool.open()
            stack.push_async_callback(pool.close)
            made.append(Sender(world, Ledger(pool, KEY, policy), number_id))
        yield made


def used(world: World) -> int:
    """As it is counted, and as the rows say."""
    counts = world.db.execute(
        "SELECT sum(uses), (SELECT count(*) FROM budget_uses WHERE counts) FROM budgets"
    ).fetchone()
    assert counts is not None
    assert counts[0] == counts[1]
    return int(counts[0])


def wrote_to(world: World, contact_id: str, number_id: str) -> None:
    """The contact has written to the number just now."""
    event_id = uuid4()
    world.db.execute(
        "INSERT INTO inbound_events (event_id, provider, number_id, kind, at, resolved)"
        " VALUES (%s, 'meta-cloud', %s, 'text', now(), true)",
        [event_id, number_id],
    )
    world.db.execute("INSERT INTO inbound_people VALUES (%s, %s, %s)", [TENANT, contact_id, event_id])


def story(
    world: World,
    tell: Callable[[list[Sender]], Awaitable[None]],
    numbers: list[str] = NUMBERS,
    policy: BudgetPolicy = PORTFOLIOS_ONLY,
) -> None:
    async def run() -> None:
        async with senders_of(world, numbers, policy) as senders:
            await tell(senders)

    asyncio.run(run())


def leased(world: World, number_id: str, **more: Any) -> None:
    held: dict[str, Any] = {
        "lease_owner": number_id,
        "fencing_token": FENCING_TOKEN,
        "leased_until": "2999-01-01",
    }
    world.number(number_id, **held, **more)


def portfolio(world: World, people_max: int, numbers: list[str] = NUMBERS) -> None:
    for number_id in numbers:
        leased(world, number_id, portfolio_id="loja")
    world.db.execute("INSERT INTO budgets (budget_id, uses_max) VALUES ('portfolio:loja', %s)", [people_max])
