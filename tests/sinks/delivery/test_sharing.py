"""Numbers are shared among real sender processes, against the simulator and a real PostgreSQL."""

from __future__ import annotations

import signal
import time
from collections import Counter, defaultdict
from itertools import pairwise
from typing import Any

import pytest

from schemas.codec import codec
from tests.support.sender_world import World

NUMBERS, PROCESSES = 12, 4
# The topology's own leases: a number whose process is killed is free after 15 s at most.
LEASES: dict[str, Any] = {"lease_s": 30, "number_lease_s": 15, "call_timeout_s": 10}

Lease = tuple[str, int]
"""Owner, fencing token."""


def leases(world: World) -> dict[str, Lease]:
    """The running leases, by number."""
    rows = world.db.execute(
        "SELECT number_id, lease_owner, fencing_token FROM sender_numbers"
        " WHERE leased_until > clock_timestamp()"
    )
    return {number: (owner, token) for number, owner, token in rows}


def shares(world: World) -> list[int]:
    return sorted(Counter(owner for owner, _ in leases(world).values()).values())


def pid_of(owner: str) -> int:
    return int(owner.split(":")[1])


def calls_by_number(world: World) -> Counter[str]:
    return Counter(call["number"] for call in world.calls())


@pytest.mark.timeout(900)
def test_four_processes_share_twelve_numbers_and_one_that_is_killed_is_replaced(world: World) -> None:
    """Every number sends, from equal shares; after SIGKILL its numbers send again; nothing twice."""
    numbers = [world.number(f"55110000020{n:02d}", messages_per_s=2) for n in range(NUMBERS)]
    campaign = world.campaign()
    world.deliveries(campaign, 3000)
    world.simulator()
    processes = {process.pid: process for process in (world.sender(**LEASES) for _ in range(PROCESSES))}
    world.wait_until(lambda: shares(world) == [NUMBERS // PROCESSES] * PROCESSES)
    before = calls_by_number(world)
    world.wait_until(lambda: all(calls_by_number(world)[n] > before[n] for n in numbers))
    held = leases(world)
    assert {pid_of(owner) for owner, _ in held.values()} == set(processes)

    victim = held[numbers[0]][0]
    lost = [number for number, (owner, _) in held.items() if owner == victim]
    killed_s = time.monotonic()
    processes[pid_of(victim)].kill()
    processes[pid_of(victim)].wait()
    at_death = calls_by_number(world)
    world.wait_until(lambda: all(calls_by_number(world)[n] > at_death[n] for n in lost))
    print(f"the killed process's numbers send again after {time.monotonic() - killed_s:.1f} s")
    after = leases(world)
    assert all(after[n][0] != victim and after[n][1] > held[n][1] for n in lost)
    assert all(after[n] == held[n] for n in numbers if n not in lost)  # the others were left where they were
    world.wait_until(lambda: shares(world) == [NUMBERS // (PROCESSES - 1)] * (PROCESSES - 1))

    rest = [process for process in processes.values() if process.poll() is None]
    assert len(rest) == PROCESSES - 1
    for process in rest:
        process.send_signal(signal.SIGTERM)
    assert [process.wait(timeout=30) for process in rest] == [0] * len(rest)
    assert leases(world) == {}
    assert world.db.execute(
        "SELECT count(*) FROM sender_processes WHERE owner <> %s", [victim]
    ).fetchone() == (0,)
    assert set(world.taken_by_recipient().values()) == {1}


@pytest.mark.timeout(900)
def test_a_process_that_joins_gets_its_share_after_the_calls_in_flight(world: World) -> None:
    """The holder finishes the calls of what it gives up, hands its queue back and ends the lease itself."""
    numbers = [world.number(f"55110000030{n:02d}") for n in range(4)]
    contacts = world.deliveries(world.campaign(), 200)
    world.simulator()
    world.rule("answer", delay_s=0.5)
    first = world.sender(**LEASES)
    world.wait_until(lambda: len(calls_by_number(world)) == len(numbers))
    tokens = {number: token for number, (_, token) in leases(world).items()}
    second = world.sender(**LEASES)
    world.wait_until(lambda: shares(world) == [2, 2])
    moved = [number for number, (owner, _) in leases(world).items() if pid_of(owner) == second.pid]
    assert all(leases(world)[number][1] == tokens[number] + 1 for number in moved)
    world.command("DELETE", "rules")
    world.wait_for(sent=200)
    assert world.taken_by_recipient() == {world.phone(contact): 1 for contact in contacts}
    assert world.db.execute("SELECT count(*) FROM deliveries WHERE attempts > 1").fetchone() == (0,)
    assert first.poll() is None
    assert second.poll() is None


@pytest.mark.timeout(900)
def test_a_number_with_fifteen_messages_a_minute_leases_no_more_than_it_sends(world: World) -> None:
    world.number(messages_per_minute=15)
    world.deliveries(world.campaign(), 1000)
    world.simulator()
    world.sender(**LEASES)
    most = 0

    def three_calls() -> bool:
        nonlocal most
        states = world.states()
        most = max(most, states.get("leased", 0) + states.get("calling", 0))
        return len(world.calls()) >= 3

    world.wait_until(three_calls)
    changes = states_told(world)
    assert most <= 2
    assert changes["waiting"] == 0
    assert changes["leased"] - changes["calling"] <= 1
    ats = sorted(call["at"] for call in world.calls())
    assert all(later - earlier >= 4.0 for earlier, later in pairwise(ats))


def states_told(world: World) -> dict[str, int]:
    """How many changes of a state the outbox holds: nobody publishes it here."""
    counts: dict[str, int] = defaultdict(int)
    for (value,) in world.db.execute("SELECT value FROM outbox WHERE topic = 'delivery_events'"):
        counts[codec("delivery_event").decode(value).state] += 1
    return counts
