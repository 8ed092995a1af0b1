"""A call is judged by the address that its number had then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ops.audit.addresses import Addresses

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
SIMULATOR, REAL = "http://simulator", "https://graph.example"
RECORDED = {SIMULATOR}


def hours(count: float) -> datetime:
    return NOON + timedelta(hours=count)


@pytest.mark.parametrize(
    ("called_at", "present", "recorded"),
    [
        (hours(-1), SIMULATOR, True),  # before the first known move: the present address
        (hours(-1), REAL, False),
        (hours(-1), None, True),
        (hours(0.5), SIMULATOR, False),  # at the real one
        (hours(1.001), SIMULATOR, False),  # moved, perhaps not noticed yet
        (hours(1.5), SIMULATOR, True),
        (hours(2.001), SIMULATOR, False),
        (hours(9), SIMULATOR, False),
    ],
)
def test_a_call_is_judged_by_the_address_of_its_time(
    called_at: datetime, present: str | None, recorded: bool
) -> None:
    moves = [("1001", hours(0), REAL), ("1001", hours(1), f"{SIMULATOR}/"), ("1001", hours(2), REAL)]
    assert Addresses(moves, RECORDED).have_record("1001", called_at, present) == recorded
    assert Addresses(moves, RECORDED).have_record("1002", called_at, SIMULATOR)
    assert not Addresses(moves, RECORDED).have_record(None, called_at, REAL)
