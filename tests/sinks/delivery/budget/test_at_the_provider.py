"""Senders, their budgets, and a provider that keeps the same limit: it never has to reject."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from ops.audit.waiting import why_waiting
from tests.support.sender_world import World

PEOPLE_MAX = 4


def test_two_senders_keep_a_portfolio_limit_that_the_provider_enforces_and_explain_says_so(
    world: World,
) -> None:
    world.simulator()
    world.command("PATCH", "behaviour", {"portfolio_people_max": PEOPLE_MAX})
    for number_id in ("551100000001", "551100000002"):
        stated: dict[str, Any] = {
            "account_id": "1042",
            "people_max": PEOPLE_MAX,
            "people_max_at": "now",
        }  # by webhooks
        world.number(number_id, **stated)
    world.deliveries(world.campaign(), 9)
    for _ in range(2):
        world.sender()
    world.wait_until(lambda: len(world.leased_numbers()) == 2)

    world.wait_for(sent=PEOPLE_MAX, waiting=9 - PEOPLE_MAX)

    assert [call["code"] for call in world.calls()] == [None] * PEOPLE_MAX
    row = world.db.execute("SELECT delivery_id FROM deliveries WHERE state = 'waiting' LIMIT 1").fetchone()
    assert row is not None
    waits = why_waiting(world.db, UUID(str(row[0])))
    assert waits is not None
    assert waits.reasons[0].endswith("(the portfolio 1042 has written to its 4 people of 24 h)")
    assert {len(world.taken_by_recipient())} == {PEOPLE_MAX}
