"""A session that is lost during a campaign: its number pauses, and its queue moves to another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.records import Message
from tests.support.provider_cases import case_of
from tests.support.sender_world import World

LOST, OTHER = "551100000701", "551100000702"


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> Iterator[World]:
    with World(database_url, tmp_path) as made:
        yield made


@pytest.mark.parametrize("provider", ["uazapi", "evolution"])
def test_the_queue_of_a_lost_session_moves_to_another_number(world: World, provider: str) -> None:
    case = case_of(provider)
    for number in (LOST, OTHER):
        case.number(world, number)
    world.simulator()
    lost = {"number": LOST, "connected": False, "provider": provider, "reason": "428: closed"}
    world.command("POST", "sessions", lost)
    world.deliveries(world.campaign(Message(kind="text", text="oi")), 12)
    world.sender(env=case.env)

    world.wait_until(lambda: not {"waiting", "leased", "calling"} & world.states().keys())

    states = world.states()
    # An answer of Evolution API proves nothing: what was called before the pause stays ambiguous, and is few.
    assert states["sent"] + states.get("ambiguous", 0) == 12
    assert states.get("ambiguous", 0) <= (10 if provider == "evolution" else 0)
    assert {call["number"] for call in world.calls() if call["wamid"]} == {OTHER}
    assert world.db.execute(
        "SELECT number_id, state, session_lost_at IS NOT NULL FROM sender_numbers ORDER BY 1"
    ).fetchall() == [(LOST, "paused", True), (OTHER, "active", False)]
