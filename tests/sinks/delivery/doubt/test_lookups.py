"""Ambiguous attempts are looked up at the provider, later and a bounded number of times."""

from __future__ import annotations

import urllib.request
from typing import Any

from tests.support.provider_cases import Case, case_of
from tests.support.sender_world import World

NUMBER = "551100000105"


def lookups(world: World) -> list[tuple[Any, ...]]:
    return world.db.execute("SELECT lookups, outcome FROM delivery_attempts ORDER BY attempt_id").fetchall()


def ready(world: World, count: int = 1, **sender: Any) -> tuple[Case, list[str]]:
    case = case_of("uazapi")
    case.number(world, NUMBER)
    contacts = world.deliveries(world.campaign(case.message), count)
    world.simulator()
    return case, contacts


def test_what_was_not_found_at_once_is_found_later(world: World) -> None:
    case, (contact,) = ready(world)
    world.command("PATCH", "behaviour", {"find_after_s": 3600})
    world.rule("reset", taken=True)
    world.sender(env=case.env, lookups_max=100)
    world.wait_for(ambiguous=1)
    world.wait_until(lambda: lookups(world)[0][0] >= 2)
    assert world.states() == {"ambiguous": 1}
    world.command("PATCH", "behaviour", {"find_after_s": 0})
    world.wait_for(sent=1)
    assert lookups(world)[0][1] == "sent"
    assert world.state(contact) == ("sent", "found at the provider")
    (call,) = world.calls()
    stored = world.db.execute("SELECT provider_message_id FROM deliveries").fetchone()
    assert stored == (call["wamid"],)


def test_what_is_never_found_stays_ambiguous_and_is_not_looked_up_without_limit(world: World) -> None:
    case, (first,) = ready(world)
    world.rule("reset")
    world.sender(env=case.env, lookups_max=2, lookup_after_s=0.05)
    world.wait_until(lambda: bool(lookups(world)) and lookups(world)[0][0] == 2)
    # Due at once, were it not for the limit: every round that looks up the second one sees it.
    world.db.execute("UPDATE delivery_attempts SET lookup_at = '-infinity'")
    (second,) = world.deliveries(world.campaign(case.message))
    world.wait_until(lambda: [count >= 2 for count, _ in lookups(world)] == [True, True])
    assert lookups(world) == [(2, "ambiguous")] * 2

    def not_found() -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{world.metrics_port}/metrics", timeout=10) as response:
            shown = response.read().decode()
        name = 'quizstream_sender_lookups_total{result="not_found"} '
        return float(shown.partition(name)[2].partition("\n")[0] or 0)

    world.wait_until(lambda: not_found() >= 4)
    assert not_found() == 4
    assert [world.state(one)[0] for one in (first, second)] == ["ambiguous"] * 2
    assert len(world.calls()) == 2


def test_a_sender_that_was_killed_during_calls_leaves_what_the_next_one_finds(world: World) -> None:
    case, contacts = ready(world, 5)
    world.sender("sender.called:kill", env=case.env)
    world.wait_until(lambda: len(world.calls()) >= 1)
    world.sender(env=case.env)
    world.wait_for(sent=5)
    assert sorted(world.taken_by_recipient().values()) == [1] * 5
    assert set(world.taken_by_recipient()) == {world.phone(contact) for contact in contacts}
