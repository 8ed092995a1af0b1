"""Every statement that changes a delivery, run from every state: it does what the table says and no more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from schemas.codec import codec
from sinks.delivery import state as lifecycle
from sinks.delivery.claimed import ClaimedRow
from sinks.delivery.events import DeliveryChange, event_of
from sinks.delivery.operator.deliveries import QUERIES as OPERATOR
from sinks.delivery.state import RULES, WAITING, DeliveryState
from sinks.delivery.statements import QUERIES as SENDER
from sinks.delivery.statements import statement
from sinks.delivery.webhooks.statuses import QUERIES as STATUSES
from sinks.postgres.named_rows import fetch
from sinks.postgres.restore.history import OTHER_DELIVERY
from sinks.postgres.restore.history import QUERIES as RESTORE
from tests.support.sender_world import MONTH, NUMBER, TENANT, World

LEASE, ATTEMPT = uuid4(), uuid4()
Run = Callable[[World, str], Iterator[list[Any]]]
"""Runs the statement in all its ways on the delivery of a contact; yields the changed rows of each."""


def keys(world: World, contact: str) -> dict[str, Any]:
    row = world.db.execute("SELECT campaign_id FROM deliveries WHERE contact_id = %s", [contact]).fetchone()
    assert row is not None
    return {"months": [MONTH], "campaigns": [row[0]], "contacts": [contact]}


def claim(world: World, _contact: str) -> Iterator[list[Any]]:
    parameters = {"numbers": [NUMBER], "places": [9], "lease_token": uuid4(), "lease_s": 60}
    yield fetch(world.db, statement("claim_deliveries"), ClaimedRow, parameters)


def mark(world: World, contact: str) -> Iterator[list[Any]]:
    parameters = keys(world, contact) | {
        "lease_tokens": [LEASE],
        "numbers": [NUMBER],
        "fencing_tokens": [1],
        "attempt_ids": [ATTEMPT],
        "emails": [None],
        "budget_due_in_s": [None],
        "budget_reasons": [None],
        "lease_s": 60,
        "number_lost": "lost",
        "number_paused": "paused",
        "other_first": "another first",
        "other_first_wait_s": 60,
    }
    for obstacle in (
        "SELECT 1",
        f"INSERT INTO suppressions VALUES ('{TENANT}', '{contact}', 'STOP')",
        "UPDATE campaigns SET cancelled_at = now()",
        "INSERT INTO sending_stops (scope) VALUES ('global')",
        "UPDATE sender_numbers SET fencing_token = 2",
        "UPDATE sender_numbers SET paused_until = now() + interval '1 hour'",
    ):
        with world.db.transaction(force_rollback=True):
            world.db.execute(obstacle)
            yield fetch(world.db, statement("mark_calling"), DeliveryChange, parameters)
    waiting = parameters | {"budget_due_in_s": [60.0], "budget_reasons": ["no place in the budget"]}
    with world.db.transaction(force_rollback=True):
        yield fetch(world.db, statement("mark_calling"), DeliveryChange, waiting)


def settle_leased(world: World, contact: str) -> Iterator[list[Any]]:
    for target in ("waiting", "failed"):
        parameters = keys(world, contact) | {"lease_tokens": [LEASE], "states": [target], "reasons": [""]}
        parameters |= {"channels": [None], "refused": [None]}
        with world.db.transaction(force_rollback=True):
            yield fetch(world.db, statement("settle_leased"), DeliveryChange, parameters)


def reclaim(name: str) -> Run:
    def run(world: World, _contact: str) -> Iterator[list[Any]]:
        world.db.execute("UPDATE deliveries SET leased_until = now()")
        yield fetch(world.db, statement(name), DeliveryChange, {"limit": 9})

    return run


def record(world: World, contact: str) -> Iterator[list[Any]]:
    for target in sorted({rule.target for rule in RULES if rule.statement == "record_results"}):
        parameters = keys(world, contact) | {
            "attempt_ids": [ATTEMPT],
            "states": [target],
            "reasons": [""],
            "due_in_s": [None],
            "uncounted": [0],
            "message_ids": [None],
            "with_fallbacks": [False],
            "channels": [None],
            "refused": [None],
        }
        with world.db.transaction(force_rollback=True):
            yield fetch(world.db, statement("record_results"), DeliveryChange, parameters)


def restore(world: World, contact: str) -> Iterator[list[Any]]:
    for last in DeliveryState:
        with world.db.transaction(force_rollback=True):
            world.db.execute(
                "INSERT INTO recovered_deliveries (delivery_id, tenant_id, campaign_id, contact_id, sequence,"
                " state, reason, attempts)"
                " SELECT delivery_id, tenant_id, campaign_id, contact_id, 99, %s, '', 0"
                " FROM deliveries WHERE contact_id = %s",
                [last, contact],
            )
            yield fetch(world.db, RESTORE["restore_deliveries"], DeliveryChange, {"unsure": "restored"})


def doubt(world: World, _contact: str) -> Iterator[list[Any]]:
    yield fetch(world.db, RESTORE["doubt_leases"], DeliveryChange, {"unsure": "restored"})


def resolve(world: World, contact: str) -> Iterator[list[Any]]:
    row = world.db.execute("SELECT delivery_id FROM deliveries WHERE contact_id = %s", [contact]).fetchone()
    assert row is not None
    for target in ("sent", "failed"):
        parameters = {"delivery_id": row[0], "state": target, "outcome": "", "reason": "", "message_id": None}
        with world.db.transaction(force_rollback=True):
            yield fetch(world.db, OPERATOR["resolve_delivery"], DeliveryChange, parameters)


def redrive(world: World, contact: str) -> Iterator[list[Any]]:
    yield fetch(
        world.db, OPERATOR["redrive_deliveries"], DeliveryChange, keys(world, contact) | {"reason": ""}
    )


def cancel(world: World, contact: str) -> Iterator[list[Any]]:
    parameters = {"campaigns": keys(world, contact)["campaigns"], "limit": 9}
    yield fetch(world.db, statement("cancel_ended"), DeliveryChange, parameters)


STATEMENTS: dict[str, Run] = {
    "cancel_ended": cancel,
    "claim_deliveries": claim,
    "mark_calling": mark,
    "settle_leased": settle_leased,
    "reclaim_leased": reclaim("reclaim_leased"),
    "reclaim_calling": reclaim("reclaim_calling"),
    "record_results": record,
    "resolve_delivery": resolve,
    "redrive_deliveries": redrive,
    "restore_deliveries": restore,
    "doubt_leases": doubt,
}
# A match opens a delivery (tests/sinks/postgres/tables/test_deliveries.py); a status writes the state that
# `merge` gives (test_state.py, test_statuses.py).
ELSEWHERE = {"insert_deliveries", "settle_deliveries"}


def test_no_statement_is_left_out() -> None:
    assert {rule.statement for rule in RULES} == set(STATEMENTS) | ELSEWHERE
    changing = {
        name
        for queries in (SENDER, STATUSES, RESTORE, OPERATOR)
        for name, text in queries.items()
        if "UPDATE deliveries" in text and "state =" in text
    }
    assert changing == (set(STATEMENTS) | ELSEWHERE) - {"insert_deliveries"}


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statement_makes_the_transitions_of_the_table(world: World, name: str) -> None:
    world.number(lease_owner="me", fencing_token=1, leased_until="2999-01-01")
    campaign = world.campaign()
    seen: set[tuple[DeliveryState, DeliveryState]] = set()
    for source in DeliveryState:
        with world.db.transaction(force_rollback=True):
            (contact,) = world.deliveries(
                campaign,
                state=source,
                lease_token=LEASE,
                leased_until="2999-01-01",
                attempt_id=ATTEMPT,
                number_id=NUMBER,
                route=NUMBER,
                due_at="2026-01-01",
            )
            for rows in STATEMENTS[name](world, contact):
                for row in rows:
                    seen.add((source, DeliveryState(row.state)))
                    assert row.sequence >= 2
                    assert_event(row)
    assert seen == {
        (source, rule.target) for rule in RULES if rule.statement == name for source in rule.sources
    }


def test_a_restored_delivery_that_a_webhook_has_proven_stays_proven(world: World) -> None:
    """Given the history 'delivered' of a delivery that a replayed webhook has set to 'read' meanwhile."""
    (contact,) = world.deliveries(world.campaign(), state=DeliveryState.READ)
    rows = [row for (row,) in restore(world, contact)]
    assert {row.state for row in rows} == {DeliveryState.READ}
    assert {row.sequence for row in rows} == {100}  # past every sequence that was published


def assert_event(row: DeliveryChange) -> None:
    """The one builder takes what every statement returns."""
    key, value = event_of(row)
    event = codec("delivery_event").decode(value)
    assert (key.decode(), event.state, event.sequence) == (row.delivery_id, row.state, row.sequence)
    assert UUID(event.completion_id).version == 4
    assert event.at == row.at_ms > 0


def test_a_delivery_begins_as_waiting() -> None:
    assert lifecycle.after(None, lifecycle.Event.OPENED) is WAITING


def test_a_restored_opt_out_holds_against_an_opt_in_of_the_copy_and_a_second_delivery_is_none(
    world: World,
) -> None:
    assert f"'{OTHER_DELIVERY}'" in statement("mark_calling")
    ids = world.deliveries(world.campaign(), 2)
    with world.db.transaction(force_rollback=True):
        world.db.execute(
            "INSERT INTO suppressions (tenant_id, contact_id, reason, lifted)"
            " SELECT tenant_id, contact_id, 'opted in', true FROM deliveries WHERE contact_id = %s",
            [ids[0]],
        )
        for contact, reason in zip(ids, ("the contact opted out", OTHER_DELIVERY), strict=True):
            world.db.execute(
                "INSERT INTO recovered_deliveries (delivery_id, tenant_id, campaign_id, contact_id, sequence,"
                " state, reason, attempts) SELECT delivery_id, tenant_id, campaign_id, contact_id, 99,"
                " 'suppressed', %s, 0 FROM deliveries WHERE contact_id = %s",
                [reason, contact],
            )
        world.db.execute(RESTORE["restore_suppressions"], {"other_delivery": OTHER_DELIVERY})
        found = world.db.execute(
            "SELECT contact_id, reason, lifted FROM suppressions WHERE contact_id = ANY (%s)", [ids]
        )
        assert found.fetchall() == [(ids[0], "the contact opted out", False)]
