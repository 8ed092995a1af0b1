"""A batch reads the rows of its own deliveries, however large the campaign is."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from pipeline.runtime.record import Record
from sinks.delivery.rows import Attempt, LearnRecipient, Marked, Result
from sinks.delivery.state import DeliveryState
from sinks.delivery.webhooks.statuses import ProviderStatuses
from sinks.postgres.connect import Connection, connect
from sinks.postgres.sink import Arrival
from sinks.webhook import Inbound, Status, Webhook
from tests.support.desk import KEY, LEASE_S, Desk, desk_of
from tests.support.sender_world import MONTH, NUMBER, TENANT, World

LEDGER, BATCH = 20_000, 50
# Of one delivery, all steps together: by its key, its id, its message and its attempt.
LOOKS_MAX = 100
PLANNED_AFTER = 12  # executions; from then on psycopg and PostgreSQL keep one plan for all
SENT_EARLIER = """
INSERT INTO deliveries (campaign_month, campaign_id, contact_id, delivery_id, tenant_id, campaign_version,
                        completion_id, completion_day, due_at, state, attempts, attempt_id, number_id,
                        provider_message_id)
SELECT %(month)s, %(campaign)s, md5(n::text), gen_random_uuid(), %(tenant)s, 1, gen_random_uuid(), %(month)s,
       now(), 'sent', 1, gen_random_uuid(), %(number)s, 'wamid.earlier.' || n
FROM generate_series(1, %(count)s) AS n;
"""
ATTEMPTS = """
INSERT INTO delivery_attempts (attempt_id, delivery_id, number_id, attempt, provider, outcome, finished_at,
                               provider_message_id)
SELECT attempt_id, delivery_id, number_id, 1, 'meta-cloud', 'sent', now(), provider_message_id
FROM deliveries WHERE provider_message_id LIKE 'wamid.earlier.%';
"""
ROWS_READ = """
SELECT relname, seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables
WHERE relname IN ('deliveries_of_test', 'delivery_attempts')
"""


def rows_read(world: World) -> dict[str, int]:
    """By table, since the ledger was made; complete once no other session is left to report its reads."""
    world.wait_until(
        lambda: (
            world.db.execute(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                " AND backend_type = 'client backend'"
            ).fetchone()
            == (0,)
        )
    )
    world.db.execute("SELECT pg_stat_force_next_flush()")
    world.db.execute("SELECT pg_stat_clear_snapshot()")
    return dict(world.db.execute(ROWS_READ).fetchall())


def sent_earlier(world: World, campaign: str) -> None:
    about = {"campaign": campaign, "tenant": TENANT, "number": NUMBER, "count": LEDGER}
    world.db.execute(SENT_EARLIER, about | {"month": MONTH})
    world.db.execute(ATTEMPTS)


def sent(attempt: Attempt) -> Result:
    """With an id of the recipient that is new."""
    leased, message_id = attempt.delivery, f"wamid.{uuid4().hex}"
    learned = LearnRecipient(TENANT, leased.key.contact_id, leased.phone or "", (f"BR.{uuid4().hex}",))
    return Result(
        leased.key,
        attempt.attempt_id,
        DeliveryState.SENT,
        "sent",
        provider_message_id=message_id,
        effects=(learned,),
    )


async def send(desk: Desk, count: int) -> list[str]:
    """One batch through claim, mark and result; returns the provider's ids of the messages."""
    leased = await desk.claim(count)
    assert len(leased) == count
    number = desk.number
    attempts = [Attempt(one, uuid4(), number.number_id, number.fencing_token) for one in leased]
    marked = await desk.ledger.mark(attempts, lease_s=LEASE_S)
    assert all(isinstance(one, Marked) for one in marked)
    results = [sent(attempt) for attempt in attempts]
    await desk.ledger.record(results)
    return [one.provider_message_id or "" for one in results]


def hear(connection: Connection, message_ids: list[str]) -> None:
    """The provider's statuses of these messages, and an answer to each, with ids that are new."""
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    statuses = tuple(
        Status(message_id, "delivered", now_ms, recipients=(f"BR.{uuid4().hex}",))
        for message_id in message_ids
    )
    inbound = tuple(
        Inbound((f"BR.{uuid4().hex}",), NUMBER, "text", now_ms, texts=("sair",), reply_to=message_id)
        for message_id in message_ids
    )
    event = Webhook("meta-cloud", statuses, inbound, 0)
    with connection.transaction():
        ProviderStatuses(KEY).write(connection, [Arrival(Record("test", 0, 0, 0, None, None), event)])


@pytest.mark.parametrize("analyzed", [True, False])
def test_a_batch_reads_only_the_rows_of_its_own_deliveries(world: World, analyzed: bool) -> None:
    """Not its campaign's, nor all attempts: also by statements that were planned on an empty ledger."""
    world.number()
    campaign = world.campaign()
    world.deliveries(campaign, PLANNED_AFTER + BATCH)

    async def tell() -> dict[str, int]:
        async with desk_of(world, connections_max=1) as desk:
            with connect(world.database_url, "test") as connection:
                for _ in range(PLANNED_AFTER):
                    hear(connection, await send(desk, 1))
                sent_earlier(world, campaign)
                if analyzed:
                    world.db.execute("ANALYZE")
                hear(connection, await send(desk, BATCH))
        return rows_read(world)

    for table, rows in asyncio.run(tell()).items():
        print(f"{table}: {rows / BATCH:.1f} rows read a delivery")
        assert rows < LEDGER + BATCH * LOOKS_MAX
    assert world.states() == {"sent": LEDGER, "delivered": PLANNED_AFTER + BATCH}
