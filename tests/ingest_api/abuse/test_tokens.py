"""Whose token a block lets pass."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from pipeline.abuse.states import Cause, State, Verdict
from schemas.records import Token
from tests.support.abuse_world import World

ADDRESS = "198.51.100.7"


@pytest.mark.parametrize(("tenant", "passes"), [("acme", True), ("*", True), ("umbrella", False)])
def test_a_token_passes_a_block_at_the_quizzes_of_its_tenant_alone(tenant: str, passes: bool) -> None:
    """Every tenant can make itself a key: with it, none may flood the quizzes of another one."""
    world = World(processes=1)
    hashed = hashlib.sha256(b"qsk_pass").hexdigest()
    world.tokens.on_event(b"", Token(hashed, tenant, 1, role="editor" if tenant != "*" else ""))
    now_ms = world.clock.now_ms()
    subject = world.subject(ADDRESS)
    blocked = Verdict(subject, State.BLOCKED, now_ms, now_ms + 60_000, Cause.OPERATOR)
    world.edges[0].table.apply(subject, blocked)

    assert asyncio.run(world.send(ADDRESS, {"q1": "a"})).problem == "blocked"
    sent = asyncio.run(world.send(ADDRESS, {"q1": "a"}, token="qsk_pass"))
    assert sent.status == (202 if passes else 429)
