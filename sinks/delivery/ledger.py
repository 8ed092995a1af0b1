"""The delivery ledger as the sender uses it: lease, mark, record, hand back, reclaim.

Each method is one transaction and returns only after its commit. Every change of a state leaves a
delivery event in the outbox of the same transaction. Where a method raises, its transaction may or may
not have been committed: `mark` is then followed by a `Result` that gives the call back, which changes
nothing if the mark never happened.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import msgspec
from psycopg import AsyncConnection

from pipeline.runtime.crash_points import reach
from schemas.codec import codec
from schemas.records import Campaign, DeliveryEvent, Personal
from sinks.delivery.pool import Pool
from sinks.delivery.rows import (
    NUMBER_LOST,
    Effect,
    HoldNumber,
    Key,
    Leased,
    Marked,
    MarkRequest,
    NotMarked,
    Result,
    Settled,
    StopScope,
    StopTemplate,
    SuppressContact,
)
from sinks.delivery.statements import statement

EVENTS_ROLE = "delivery_events"
RECLAIM_BATCH_MAX = 500
DEFINITIONS_MAX = 10_000  # campaign versions kept in memory


class Ledger:
    """`now_ms` is the wall clock of the events' `at`."""

    def __init__(self, pool: Pool, now_ms: Callable[[], int]) -> None:
        self._pool = pool
        self._now_ms = now_ms
        self._codec = codec("delivery_event")
        self._definitions: dict[tuple[str, int], Campaign | None] = {}

    async def claim(self, tenant_id: str, *, limit: int, lease_token: UUID, lease_s: float) -> list[Leased]:
        """Leases up to `limit` due deliveries of the tenant ('*': of all without a number of their own).

        The most urgent first: priority, then due time, then age.
        """
        async with self._pool.connection() as connection, connection.transaction():
            rows = await _fetch(
                connection,
                "claim_deliveries",
                {"tenant_id": tenant_id, "limit": limit, "lease_token": lease_token, "lease_s": lease_s},
            )
            event_id = await self._publish(connection, rows)
            reach("sender.claiming")
        leased = [_leased(row, event_id) for row in rows]
        leased.sort(key=lambda one: (-one.priority, one.due_at, one.created_at))
        return leased

    async def definition(self, campaign_id: str, version: int) -> Campaign | None:
        """The campaign's version, None if there is none such or it cannot be read."""
        known = self._definitions.get((campaign_id, version))
        if known is not None:
            return known
        async with self._pool.connection() as connection:
            rows = await _fetch(
                connection, "get_definition", {"campaign_id": campaign_id, "version": version}
            )
        if not rows:
            return None
        try:
            found = msgspec.convert(rows[0][0], Campaign)
        except msgspec.ValidationError:
            return None
        if len(self._definitions) >= DEFINITIONS_MAX:
            self._definitions.clear()
        self._definitions[campaign_id, version] = found
        return found

    async def mark(self, requests: Sequence[MarkRequest], *, lease_s: float) -> list[Marked | NotMarked]:
        """Asks for each delivery whether it may be called now; one answer for each request, in order.

        A `Marked` delivery is `calling` until `lease_s` from now: longer than the call it allows may take.
        """
        parameters = {
            **_keys([request.key for request in requests]),
            "lease_tokens": [request.lease_token for request in requests],
            "numbers": [request.number_id for request in requests],
            "fencing_tokens": [request.fencing_token for request in requests],
            "attempt_ids": [request.attempt_id for request in requests],
            "lease_s": lease_s,
            "number_lost": NUMBER_LOST,
        }
        async with self._pool.connection() as connection, connection.transaction():
            await connection.execute(statement("hold_off_stops"))
            rows = await _fetch(connection, "mark_calling", parameters)
            await self._publish(connection, rows)
            reach("sender.marking")
        answers = {Key(*row[:3]): row for row in rows}
        out: list[Marked | NotMarked] = []
        for request in requests:
            row = answers.get(request.key)
            if row is None:
                out.append(NotMarked(None, "the lease is not ours any more"))
            elif row[7] == "calling" and row[11] == request.attempt_id:
                out.append(Marked(attempts=row[10]))
            else:
                out.append(NotMarked(row[7], row[8]))
        return out

    async def record(self, results: Sequence[Result]) -> None:
        """Writes down what became of calls, and what follows from it. Writing the same again changes
        nothing.
        """
        async with self._pool.connection() as connection, connection.transaction():
            for effect in (effect for result in results for effect in result.effects):
                await _apply(connection, effect)
            rows = await _fetch(
                connection,
                "record_results",
                {
                    **_keys([result.key for result in results]),
                    "attempt_ids": [result.attempt_id for result in results],
                    "states": [result.state for result in results],
                    "reasons": [result.reason for result in results],
                    "due_in_s": [result.due_in_s for result in results],
                    "uncounted": [0 if result.counted else 1 for result in results],
                    "message_ids": [result.provider_message_id for result in results],
                },
            )
            await connection.execute(
                statement("finish_attempts"),
                {
                    "attempt_ids": [result.attempt_id for result in results],
                    "outcomes": [result.outcome for result in results],
                    "codes": [result.code for result in results],
                    "actions": [result.action for result in results],
                    "details": [result.reason for result in results],
                    "message_ids": [result.provider_message_id for result in results],
                },
            )
            await self._publish(connection, rows)
            reach("sender.recording")

    async def settle(self, settled: Sequence[Settled]) -> None:
        """Ends leases without a call, where they are still ours."""
        if not settled:
            return
        async with self._pool.connection() as connection, connection.transaction():
            rows = await _fetch(
                connection,
                "settle_leased",
                {
                    **_keys([one.key for one in settled]),
                    "lease_tokens": [one.lease_token for one in settled],
                    "states": [one.state for one in settled],
                    "reasons": [one.reason for one in settled],
                },
            )
            await self._publish(connection, rows)

    async def reclaim(self) -> tuple[int, int]:
        """Leases that ran out go back to waiting, calls whose sender was lost become ambiguous: how many
        each.
        """
        counts = []
        for name in ("reclaim_leased", "reclaim_calling"):
            async with self._pool.connection() as connection, connection.transaction():
                rows = await _fetch(connection, name, {"limit": RECLAIM_BATCH_MAX})
                await self._publish(connection, rows)
            counts.append(len(rows))
            reach("sender.reclaimed")
        return counts[0], counts[1]

    async def first_unpublished(self) -> int | None:
        """The smallest id in the outbox: committed events below it are in their topic. None: all are."""
        async with self._pool.connection() as connection:
            rows = await _fetch(connection, "first_unpublished", {})
        return None if rows[0][0] is None else int(rows[0][0])

    async def held_counts(self) -> dict[str, int]:
        """How many deliveries are waiting, leased and calling."""
        async with self._pool.connection() as connection:
            found = dict(await _fetch(connection, "held_counts", {}))
        return {state: found.get(state, 0) for state in ("waiting", "leased", "calling")}

    async def _publish(
        self, connection: AsyncConnection[tuple[Any, ...]], rows: Sequence[tuple[Any, ...]]
    ) -> int:
        """Returns the last event's id in the outbox, 0 where there is none."""
        if not rows:
            return 0
        at = self._now_ms()
        keys, values = [], []
        for row in rows:
            event = DeliveryEvent(
                delivery_id=str(row[3]),
                tenant_id=row[4],
                campaign_id=row[1],
                contact_id=row[2],
                completion_id=str(row[5]),
                sequence=row[6],
                state=row[7],
                at=at,
                reason=row[8],
                provider_message_id=row[9],
                attempts=row[10],
                attempt_id=None if row[11] is None else str(row[11]),
                number_id=row[12],
            )
            keys.append(event.delivery_id.encode())
            values.append(self._codec.encode(event))
        ids = await _fetch(
            connection, "enqueue_events", {"role": EVENTS_ROLE, "keys": keys, "values": values}
        )
        return max(int(row[0]) for row in ids)


async def _fetch(
    connection: AsyncConnection[tuple[Any, ...]], name: str, parameters: dict[str, Any]
) -> list[tuple[Any, ...]]:
    return await (await connection.execute(statement(name), parameters)).fetchall()


async def _apply(connection: AsyncConnection[tuple[Any, ...]], effect: Effect) -> None:
    match effect:
        case SuppressContact(tenant_id, contact_id, reason):
            await connection.execute(
                statement("suppress_contacts"),
                {"tenants": [tenant_id], "contacts": [contact_id], "reasons": [reason]},
            )
        case StopScope(scope, reason):
            await connection.execute(statement("stop_scopes"), {"scopes": [scope], "reasons": [reason]})
        case StopTemplate(tenant_id, template, reason):
            await connection.execute(
                statement("stop_campaigns_of_template"),
                {"tenant_id": tenant_id, "template": template, "reason": reason},
            )
        case HoldNumber(number_id, state, reason, whole_account):
            await connection.execute(
                statement("hold_account" if whole_account else "hold_number"),
                {"number_id": number_id, "state": state, "reason": reason},
            )


def _keys(keys: Sequence[Key]) -> dict[str, Any]:
    return {
        "months": [key.campaign_month for key in keys],
        "campaigns": [key.campaign_id for key in keys],
        "contacts": [key.contact_id for key in keys],
    }


def _leased(row: tuple[Any, ...], event_id: int) -> Leased:
    return Leased(
        key=Key(*row[:3]),
        delivery_id=str(row[3]),
        tenant_id=row[4],
        campaign_version=row[13],
        variables={str(name): str(value) for name, value in row[14].items() if value is not None},
        priority=row[15],
        due_at=row[16],
        created_at=row[17],
        attempts=row[10],
        lease_token=row[18],
        phone=row[19],
        personal=Personal(phone=row[19], name=row[20], email=row[21]),
        event_id=event_id,
    )
