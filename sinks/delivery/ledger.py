"""The delivery ledger as the sender uses it: lease, mark, record, hand back, reclaim.

Each method is one transaction and returns only after its commit. Every change of a state leaves a
delivery event in the outbox of the same transaction. Where a method raises, its transaction may or may
not have been committed: `mark` is then followed by a `Result` that gives the call back, which changes
nothing if the mark never happened.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import msgspec
from psycopg import AsyncConnection

from pipeline.runtime.crash_points import reach
from schemas.ids import contact_id, email_id
from schemas.records import Campaign
from sinks.delivery.budget.gate import Gate, Mark, Wanted
from sinks.delivery.budget.policy import PORTFOLIOS_ONLY, BudgetPolicy
from sinks.delivery.budget.standing import Standing as BudgetStanding
from sinks.delivery.budget.waiting import Waiting
from sinks.delivery.claimed import ClaimedRow, key_of, leased
from sinks.delivery.doubt.lookups import InDoubt
from sinks.delivery.events import EVENTS_ROLE, Changed, DeliveryChange, event_of
from sinks.delivery.holds import Hold, Standing, holds_of
from sinks.delivery.people.aliases import people_of
from sinks.delivery.routing import elsewhere
from sinks.delivery.rows import (
    LEASE_LOST,
    NUMBER_LOST,
    NUMBER_PAUSED,
    OTHER_FIRST,
    OTHER_FIRST_WAIT_S,
    Attempt,
    Effect,
    HoldNumber,
    Key,
    LearnRecipient,
    Leased,
    Marked,
    NotMarked,
    PauseNumbers,
    PauseSession,
    RejectedAlike,
    Result,
    Settled,
    StopScope,
    StopTemplate,
    SuppressContact,
)
from sinks.delivery.state import AMBIGUOUS, DEAD, FAILED, OPEN, DeliveryState
from sinks.delivery.statements import statement
from sinks.postgres.named_rows import named
from sinks.postgres.pool import Pool

RECLAIM_BATCH_MAX = 500
DEFINITIONS_MAX = 10_000  # campaign versions kept in memory


Row = TypeVar("Row")


class _Id(NamedTuple):
    id: int


class _Definition(NamedTuple):
    definition: Any


class _Count(NamedTuple):
    state: str
    found: int


class Ledger:
    def __init__(self, pool: Pool, contact_key: bytes = b"", budgets: BudgetPolicy = PORTFOLIOS_ONLY) -> None:
        """`contact_key` is of the contact ids; without it, no alias is learned from answers."""
        self._pool = pool
        self._contact_key = contact_key
        self._gate = Gate(budgets)
        self._waiting = Waiting(pool, budgets)
        self._definitions: dict[tuple[str, int], Campaign | None] = {}

    async def claim(self, places: Mapping[str, int], *, lease_token: UUID, lease_s: float) -> list[Leased]:
        """Leases due deliveries that are routed to these numbers, of each as many as it has places for.

        The most urgent first: priority, then due time, then age.
        """
        async with self._pool.connection() as connection, connection.transaction():
            rows = await _fetch(
                connection,
                "claim_deliveries",
                ClaimedRow,
                {
                    "numbers": list(places),
                    "places": list(places.values()),
                    "lease_token": lease_token,
                    "lease_s": lease_s,
                },
            )
            event_ids = await _publish(connection, rows)
            reach("sender.claiming")
        claimed = [leased(row, event_id) for row, event_id in zip(rows, event_ids, strict=True)]
        claimed.sort(key=lambda one: (-one.priority, one.due_at, one.created_at))
        return claimed

    async def definition(self, campaign_id: str, version: int) -> Campaign | None:
        """The campaign's version, None if there is none such or it cannot be read."""
        known = self._definitions.get((campaign_id, version))
        if known is not None:
            return known
        async with self._pool.connection() as connection:
            rows = await _fetch(
                connection, "get_definition", _Definition, {"campaign_id": campaign_id, "version": version}
            )
        if not rows:
            return None
        try:
            found = msgspec.convert(rows[0].definition, Campaign)
        except msgspec.ValidationError:
            return None
        if len(self._definitions) >= DEFINITIONS_MAX:
            self._definitions.clear()
        self._definitions[campaign_id, version] = found
        return found

    async def mark(self, attempts: Sequence[Attempt], *, lease_s: float) -> list[Marked | NotMarked]:
        """Marks each delivery that may be called now; one answer for each attempt, in order.

        A `Marked` delivery is `calling` until `lease_s` from now: longer than the call it allows may take.
        One without a place in the budget of its number waits until there is one.
        """
        parameters: dict[str, Any] = {
            **_keys([attempt.delivery.key for attempt in attempts]),
            "lease_tokens": [attempt.delivery.lease_token for attempt in attempts],
            "numbers": [attempt.number_id for attempt in attempts],
            "fencing_tokens": [attempt.fencing_token for attempt in attempts],
            "attempt_ids": [attempt.attempt_id for attempt in attempts],
            "emails": [self._email_of(attempt.delivery) for attempt in attempts],
            "lease_s": lease_s,
            "number_lost": NUMBER_LOST,
            "number_paused": NUMBER_PAUSED,
            "other_first": OTHER_FIRST,
            "other_first_wait_s": OTHER_FIRST_WAIT_S,
        }
        async with self._pool.connection() as connection, connection.transaction():
            await connection.execute(statement("hold_off_stops"))
            plan = await self._gate.plan(connection, [_wanted(attempt) for attempt in attempts])
            parameters |= {"budget_due_in_s": plan.due_in_s, "budget_reasons": plan.reasons}
            rows = await _fetch(connection, "mark_calling", DeliveryChange, parameters)
            answers = {key_of(row): row for row in rows}
            found = [answers.get(attempt.delivery.key) for attempt in attempts]
            await self._gate.settle(connection, plan, [_mark_of(row) for row in found])
            await _publish(connection, rows)
            reach("sender.marking")
        out: list[Marked | NotMarked] = []
        for attempt in attempts:
            row = answers.get(attempt.delivery.key)
            if row is None:
                out.append(NotMarked(None, LEASE_LOST))
            elif row.state == DeliveryState.CALLING and row.attempt_id == str(attempt.attempt_id):
                out.append(Marked())
            else:
                out.append(NotMarked(row.state, row.reason))
        return out

    def _email_of(self, delivery: Leased) -> str | None:
        """The hashed e-mail address of the contact, under which an opt-out of it is kept."""
        written = delivery.personal.email
        if not written or not self._contact_key:
            return None
        return email_id(self._contact_key, delivery.tenant_id, written)

    async def record(self, results: Sequence[Result]) -> list[str]:
        """Writes down what became of calls, and what follows from it; returns the campaigns that it stopped
        because their recipients were rejected alike. Writing the same again changes nothing, except
        that a pause begins again.
        """
        stopped: list[str] = []
        async with self._pool.connection() as connection, connection.transaction():
            effects = [effect for result in results for effect in result.effects]
            if any(isinstance(effect, StopScope | StopTemplate | RejectedAlike) for effect in effects):
                await connection.execute(statement("announce_stops"))
            accepted = {one.key.campaign_id for one in results if one.state == DeliveryState.SENT}
            if accepted:
                await connection.execute(statement("forget_rejections"), {"campaigns": sorted(accepted)})
            rejected = [one.attempt_id for one in results if one.outcome == "rejected"]
            not_called = [one.attempt_id for one in results if one.outcome == "not_sent" or not one.written]
            await self._gate.give_back(connection, rejected, not_called)
            await _pause(connection, [effect for effect in effects if isinstance(effect, PauseNumbers)])
            late = [one for one in effects if isinstance(one, SuppressContact | LearnRecipient)]
            for effect in [one for one in effects if one not in late]:
                stopped += await _apply(connection, effect, self._contact_key)
            next_routes = await elsewhere.find(
                connection,
                [(*_key_columns(one.key), one.elsewhere) for one in results if one.state in (FAILED, DEAD)],
            )
            results = [_rerouted(one, next_routes.get(_key_columns(one.key))) for one in results]
            rows = await _fetch(
                connection,
                "record_results",
                DeliveryChange,
                {
                    **_keys([result.key for result in results]),
                    "attempt_ids": [result.attempt_id for result in results],
                    "states": [result.state for result in results],
                    "reasons": [result.reason for result in results],
                    "due_in_s": [result.due_in_s for result in results],
                    "uncounted": [0 if result.counted else 1 for result in results],
                    "message_ids": [result.provider_message_id for result in results],
                    "with_fallbacks": [result.with_fallbacks for result in results],
                    **elsewhere.columns([next_routes.get(_key_columns(one.key)) for one in results]),
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
            # After the deliveries, as the sink of statuses locks them, and each kind in one order.
            for effect in sorted(
                late, key=lambda one: (isinstance(one, LearnRecipient), one.tenant_id, one.contact_id)
            ):
                await _apply(connection, effect, self._contact_key)
            await _publish(connection, rows)
            reach("sender.recording")
        return stopped

    async def settle(self, settled: Sequence[Settled]) -> None:
        """Ends leases without a call, where they are still ours."""
        if not settled:
            return
        async with self._pool.connection() as connection, connection.transaction():
            next_routes = await elsewhere.find(
                connection, [(*_key_columns(one.key), one.elsewhere) for one in settled]
            )
            settled = [_resettled(one, next_routes.get(_key_columns(one.key))) for one in settled]
            rows = await _fetch(
                connection,
                "settle_leased",
                DeliveryChange,
                {
                    **_keys([one.key for one in settled]),
                    "lease_tokens": [one.lease_token for one in settled],
                    "states": [one.state for one in settled],
                    "reasons": [one.reason for one in settled],
                    **elsewhere.columns([next_routes.get(_key_columns(one.key)) for one in settled]),
                },
            )
            await _publish(connection, rows)

    async def reclaim(self) -> tuple[int, int]:
        """Leases that ran out go back to waiting, calls whose sender was lost become ambiguous: how many
        each.
        """
        counts = []
        for name in ("reclaim_leased", "reclaim_calling"):
            async with self._pool.connection() as connection, connection.transaction():
                rows = await _fetch(connection, name, DeliveryChange, {"limit": RECLAIM_BATCH_MAX})
                await _publish(connection, rows)
            counts.append(len(rows))
            reach("sender.reclaimed")
        return counts[0], counts[1]

    async def claim_lookups(
        self, numbers: Sequence[str], *, limit: int, lookups_max: int, after_s: float
    ) -> list[InDoubt]:
        """Ambiguous attempts of these numbers that are due to be looked up; each is counted as looked up."""
        given = {"numbers": list(numbers), "limit": limit, "lookups_max": lookups_max, "after_s": after_s}
        async with self._pool.connection() as connection, connection.transaction():
            return await _fetch(connection, "claim_lookups", InDoubt, given)

    async def budgets(self) -> list[BudgetStanding]:
        """Moves the queue of each budget up where it has places; returns what is left of each."""
        return await self._waiting.round()

    async def unpublished(self, ranges: Sequence[tuple[int, int]]) -> set[int]:
        """The ids within these ranges (both ends count) that are still in the outbox.

        Any other committed event of the ranges is in its topic.
        """
        parameters = {"firsts": [first for first, _ in ranges], "lasts": [last for _, last in ranges]}
        async with self._pool.connection() as connection:
            rows = await _fetch(connection, "unpublished_events", _Id, parameters)
        return {row.id for row in rows}

    async def holds(self) -> list[Hold]:
        """Why nothing may be sent now; empty where it may."""
        async with self._pool.connection() as connection:
            (standing,) = await _fetch(connection, "sending_standing", Standing, {})
        return holds_of(standing)

    async def open_counts(self) -> dict[str, int]:
        """How many deliveries are waiting, leased and calling, and how many are in doubt."""
        async with self._pool.connection() as connection:
            found = {row.state: row.found for row in await _fetch(connection, "open_counts", _Count, {})}
        return {state.value: found.get(state, 0) for state in (*OPEN, AMBIGUOUS)}


async def _publish(connection: AsyncConnection[tuple[Any, ...]], rows: Sequence[Changed]) -> Iterable[int]:
    """The rows' events into the outbox; returns their ids there, in the order of the rows."""
    if not rows:
        return ()
    keys, values = zip(*map(event_of, rows), strict=True)
    parameters = {"role": EVENTS_ROLE, "keys": list(keys), "values": list(values)}
    return sorted(row.id for row in await _fetch(connection, "enqueue_events", _Id, parameters))


async def _fetch(
    connection: AsyncConnection[tuple[Any, ...]], name: str, row_type: type[Row], parameters: dict[str, Any]
) -> list[Row]:
    async with connection.cursor(row_factory=named(row_type)) as cursor:
        return await (await cursor.execute(statement(name), parameters)).fetchall()


_KeyColumns = tuple[date, str, str]


def _key_columns(key: Key) -> _KeyColumns:
    return key.campaign_month, key.campaign_id, key.contact_id


def _rerouted(result: Result, found: elsewhere.Found | None) -> Result:
    if found is None:
        return result
    return dataclasses.replace(
        result, state=DeliveryState.WAITING, reason=found.reason(result.reason), due_in_s=0.0
    )


def _resettled(settled: Settled, found: elsewhere.Found | None) -> Settled:
    if found is None:
        return settled
    return dataclasses.replace(settled, state=DeliveryState.WAITING, reason=found.reason(settled.reason))


async def _pause(connection: AsyncConnection[tuple[Any, ...]], pauses: Sequence[PauseNumbers]) -> None:
    if pauses:
        parameters = {
            "numbers": [one.number_id for one in pauses],
            "pauses_s": [one.pause_s for one in pauses],
            "whole_accounts": [one.whole_account for one in pauses],
        }
        await connection.execute(statement("pause_numbers"), parameters)


async def _learn(
    connection: AsyncConnection[tuple[Any, ...]], recipient: LearnRecipient, contact_key: bytes
) -> None:
    """Ids that lead to the contact by themselves, as most do, cost no query."""
    tenant_id, contact = recipient.tenant_id, recipient.contact_id
    people = people_of(contact_key, [tenant_id], recipient.ids) if contact_key else []
    others = [one for one in people if one.person != contact]
    # Another key, in a process that was set up wrongly, would make every id another one.
    if others and contact_id(contact_key, tenant_id, recipient.phone) == contact:
        await connection.execute(
            statement("learn_recipient"),
            {
                "tenant": tenant_id,
                "contact": contact,
                "aliases": [one.person for one in others],
                "are_contacts": [one.is_phone for one in others],
            },
        )


async def _apply(
    connection: AsyncConnection[tuple[Any, ...]], effect: Effect, contact_key: bytes
) -> list[str]:
    """Returns the campaign that it stopped for rejections alike, if it did."""
    match effect:
        case LearnRecipient():
            await _learn(connection, effect, contact_key)
        case RejectedAlike(campaign_id, contact, code, reason, recipients_max):
            stop_reason = f"{recipients_max} recipients in a row were rejected alike, the last with: {reason}"
            parameters = {
                "campaign_id": campaign_id,
                "contact_id": contact,
                "code": code,
                "recipients_max": recipients_max,
                "reason": stop_reason,
            }
            await connection.execute(statement("count_rejection"), parameters)
            found = await connection.execute(statement("stop_rejected_campaign"), parameters)
            return [campaign_id] if found.rowcount == 1 else []
        case SuppressContact(tenant_id, contact, reason):
            await connection.execute(
                statement("suppress_contacts"),
                {"tenants": [tenant_id], "contacts": [contact], "reasons": [reason]},
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
        case PauseSession(number_id, attempt_id, reason):
            lost = {"number_id": number_id, "attempt_id": attempt_id, "reason": reason}
            await connection.execute(statement("lock_number"), lost)
            await connection.execute(statement("pause_session"), lost)
        case PauseNumbers():
            pass  # all of a transaction together: `_pause`
    return []


def _keys(keys: Sequence[Key]) -> dict[str, Any]:
    return {
        "months": [key.campaign_month for key in keys],
        "campaigns": [key.campaign_id for key in keys],
        "contacts": [key.contact_id for key in keys],
    }


def _mark_of(row: DeliveryChange | None) -> Mark:
    if row is None:
        return Mark.LOST
    marks = {DeliveryState.CALLING: Mark.CALLED, DeliveryState.WAITING: Mark.WAITS}
    return marks.get(DeliveryState(row.state), Mark.ENDED)


def _wanted(attempt: Attempt) -> Wanted:
    key = attempt.delivery.key
    return Wanted(
        *(key.campaign_month, key.campaign_id, key.contact_id), attempt.number_id, attempt.attempt_id
    )
