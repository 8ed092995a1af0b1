"""The sender killed, stopped and cut off at every step: what the simulator's own record says about it."""

from __future__ import annotations

import json
import os
import signal

import pytest

from pipeline.runtime.record import Record
from sinks.delivery.webhooks.statuses import ProviderStatuses
from sinks.postgres.connect import connect
from sinks.postgres.sink import Arrival
from sinks.whatsapp.meta_cloud.webhook import parse
from tests.support.sender_world import NUMBER, Process, World

IN_FLIGHT_MAX = 10  # topology.yaml: sender.in_flight_max


def wait_until_stopped(process: Process) -> None:
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)


@pytest.mark.parametrize("point", ["claimed", "before_mark", "marked", "called", "recorded"])
def test_killed_at_any_step_nobody_gets_it_twice_and_the_unknown_is_what_was_in_flight(
    world: World, point: str
) -> None:
    world.number()
    world.deliveries(world.campaign(), 40)
    world.simulator()
    visit = 1 if point in ("claimed", "before_mark") else 4
    killed = world.sender(f"sender.{point}:kill:{visit}", claim_batch_max=20)
    assert killed.wait(timeout=60) == -signal.SIGKILL
    calling = world.states().get("calling", 0)
    assert calling <= IN_FLIGHT_MAX
    world.sender()
    world.wait_until(lambda: set(world.states()) <= {"sent", "ambiguous"})
    states = world.states()
    taken = world.taken_by_recipient()
    assert set(taken.values()) == {1}
    assert states.get("ambiguous", 0) == calling
    assert states["sent"] <= len(taken) <= states["sent"] + calling
    if point in ("marked", "called"):
        assert calling >= 1
    if point in ("claimed", "before_mark"):
        assert calling == 0


def test_killed_during_calls_that_hang_those_are_ambiguous_until_the_provider_says_what_became_of_them(
    world: World,
) -> None:
    world.number()
    contacts = world.deliveries(world.campaign(), 30)
    world.simulator()
    for contact in contacts[:4]:
        world.rule("hang", to=world.phone(contact), taken=True)
    first = world.sender(call_timeout_s=10, lease_s=13)
    world.wait_until(lambda: world.states() == {"sent": 26, "calling": 4} and len(world.calls()) == 30)
    first.kill()
    first.wait()
    world.sender()
    world.wait_for(sent=26, ambiguous=4)
    assert len(world.calls()) == 30
    for call in world.calls():
        if call["rule"] == "hang":
            _tell_status(world, "delivered", call["wamid"], call["attempt_id"])
    assert world.states() == {"sent": 26, "delivered": 4}
    assert set(world.taken_by_recipient().values()) == {1}


def _tell_status(world: World, status: str, wamid: str, attempt_id: str) -> None:
    said = {"id": wamid, "status": status, "timestamp": "1772323200", "biz_opaque_callback_data": attempt_id}
    value = {"metadata": {"phone_number_id": NUMBER}, "statuses": [said]}
    body = json.dumps({"entry": [{"id": "1", "changes": [{"field": "messages", "value": value}]}]}).encode()
    record = Record("webhooks", 0, 0, 0, None, body)
    with connect(world.database_url, "test") as connection, connection.transaction():
        ProviderStatuses(b"key").write(connection, [Arrival(record, parse(body, 0))])


def test_stopped_between_mark_and_call_and_continued_after_others_took_over_it_does_not_call(
    world: World,
) -> None:
    world.number()
    contacts = world.deliveries(world.campaign(), 20)
    world.simulator()
    zombie = world.sender("sender.marked:stop")
    wait_until_stopped(zombie)
    marked = world.states()["calling"]
    calls_before = {call["attempt_id"] for call in world.calls()}
    assert 1 <= marked <= IN_FLIGHT_MAX
    world.sender()
    world.wait_until(lambda: set(world.states()) <= {"sent", "ambiguous"})
    assert world.states() == {"sent": 20 - marked, "ambiguous": marked}
    held = {
        str(row[0]) for row in world.db.execute("SELECT attempt_id FROM deliveries WHERE state = 'ambiguous'")
    }
    zombie.send_signal(signal.SIGCONT)
    # It held the calls back, which it knows for certain: so they are sent after all, by whoever claims them.
    world.wait_for(sent=20)
    assert not held & ({call["attempt_id"] for call in world.calls()} - calls_before)
    assert world.taken_by_recipient() == {world.phone(contact): 1 for contact in contacts}


def test_success_and_then_a_reset_is_ambiguous_and_not_sent_again(world: World) -> None:
    world.number()
    campaign = world.campaign()
    endings = [("reset", True), ("half", True), ("garbage", True), ("hang", True), ("reset", False)]
    contacts = world.deliveries(campaign, len(endings))
    world.deliveries(campaign, 10)
    world.simulator()
    for contact, (do, taken) in zip(contacts, endings, strict=True):
        world.rule(do, to=world.phone(contact), taken=taken)
    world.sender()
    world.wait_for(sent=10, ambiguous=len(endings))
    assert len(world.calls()) == 10 + len(endings)


def test_closed_before_anything_was_read_is_ambiguous_too(world: World) -> None:
    world.number()
    world.deliveries(world.campaign(), 6)
    world.simulator()
    world.rule("close", number=NUMBER, count=2)
    world.sender()
    world.wait_for(sent=4, ambiguous=2)
    assert len(world.calls()) == 4


def test_connections_to_the_database_that_end_at_any_moment_lose_and_repeat_nothing(world: World) -> None:
    world.number()
    contacts = world.deliveries(world.campaign(), 300)
    world.simulator()
    world.sender()
    cuts = 0
    while world.states() != {"sent": 300}:
        row = world.db.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE application_name = 'quizstream whatsapp-sender' AND datname = current_database()"
            " AND state <> 'idle'"
        ).fetchone()
        assert row is not None
        cuts += row[0]
        world.wait_for_more_calls()
    assert cuts > 0
    assert world.taken_by_recipient() == {world.phone(contact): 1 for contact in contacts}


def test_a_simulator_that_is_killed_and_comes_back_goes_on_with_its_sequence(world: World) -> None:
    world.number(messages_per_s=40)
    contacts = world.deliveries(world.campaign(), 120)
    simulator = world.simulator()
    world.sender()
    world.wait_until(lambda: len(world.calls()) >= 30)
    simulator.kill()
    simulator.wait()
    world.simulator()
    world.wait_until(lambda: set(world.states()) <= {"sent", "ambiguous"})
    calls = world.calls()
    assert len({call["wamid"] for call in calls}) == len(calls)
    assert set(world.taken_by_recipient()) <= {world.phone(contact) for contact in contacts}
    assert set(world.taken_by_recipient().values()) == {1}
    assert world.states().get("ambiguous", 0) <= IN_FLIGHT_MAX
