"""What a provider's answer to one call stops: the number, the account or the template, in every process."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from pipeline.runtime.settings import Settings
from schemas.records import Message
from sinks.delivery.statements import statement
from sinks.delivery.stop_switch import release_number, scope_of, stop_sending
from tests.support.sender_world import Process, World

# One lease, so that four numbers are shared two and two.
LEASES: dict[str, Any] = {"lease_s": 30, "number_lease_s": 6, "call_timeout_s": 10, "in_flight_max": 2}
OTHER = {"OTHER_TOKEN": Settings.from_env({}).access_token}
HOUR_MIN = 60


def calls_by_number(world: World) -> Counter[str]:
    return Counter(call["number"] for call in world.calls())


def two_senders(world: World) -> list[Process]:
    started = [world.sender(env=OTHER, **LEASES) for _ in range(2)]
    world.wait_until(lambda: shares(world) == [2, 2])
    return started


def shares(world: World) -> list[int]:
    rows = world.db.execute(
        "SELECT count(*) FROM sender_numbers WHERE leased_until > clock_timestamp() GROUP BY lease_owner"
    )
    return sorted(count for (count,) in rows)


@pytest.mark.timeout(900)
def test_a_limit_of_the_account_pauses_all_its_numbers_in_every_process_and_after_a_restart(
    world: World,
) -> None:
    account = [world.number(f"5511000004{n:02d}", messages_per_s=5) for n in range(3)]
    other = world.number("551100000499", credential="OTHER_TOKEN", messages_per_s=5)
    world.deliveries(world.campaign(), 3000)
    world.simulator()
    senders = two_senders(world)
    world.wait_until(lambda: all(calls_by_number(world)[number] for number in (*account, other)))

    world.rule("error", number=account[0], code=80007, count=1, retry_after_min=HOUR_MIN)
    paused = "SELECT count(*) FROM sender_numbers WHERE paused_until > now() + interval '50 minutes'"
    world.wait_until(lambda: world.db.execute(paused).fetchone() == (3,))
    with world.db.transaction():
        world.db.execute(statement("shut_out_marks"))  # those from before the pause are committed then
    calling = "SELECT count(*) FROM deliveries WHERE state = 'calling' AND number_id = ANY (%s)"
    world.wait_until(lambda: world.db.execute(calling, [account]).fetchone() == (0,))

    def only_the_other_calls(number: str = other) -> None:
        before = calls_by_number(world)
        world.wait_until(lambda: calls_by_number(world)[number] > before[number] + 10)
        after = calls_by_number(world)
        assert {each: after[each] - before[each] for each in account if each != number} == {
            each: 0 for each in account if each != number
        }

    only_the_other_calls()
    for sender in senders:
        sender.terminate()
    assert [sender.wait(timeout=30) for sender in senders] == [0, 0]
    two_senders(world)
    only_the_other_calls()
    assert release_number(world.db, account[1])
    only_the_other_calls(account[1])
    assert max(world.taken_by_recipient().values()) == 1


@pytest.mark.timeout(900)
def test_a_paused_template_and_a_stopped_tenant_wait_in_every_process(world: World) -> None:
    world.tenant("umbrella")
    numbers = [world.number(f"5511000005{n:02d}", tenant_id="*", messages_per_s=20) for n in range(4)]
    paused, free = (
        Message(kind="template", template=name, language="pt_BR", variables=[]) for name in ("paused", "free")
    )
    world.simulator()
    for template in (paused, free):
        world.approve(str(template.template))
    two_senders(world)
    older = world.campaign(paused)
    first = world.deliveries(world.campaign(paused), 1)
    world.rule("error", to=world.phone(first[0]), code=132015)
    world.wait_until(lambda: world.state(first[0])[0] == "waiting" and len(world.calls()) > 0)
    stop_sending(world.db, scope_of("tenant", "umbrella"))

    # The same template in an older campaign of the tenant, the one of the rejection, and what may be sent.
    stopped = {scope for (scope,) in world.db.execute("SELECT scope FROM sending_stops")}
    assert len(stopped) == 3
    assert f"campaign:{older}" in stopped
    world.deliveries(older, 5)
    world.deliveries(world.campaign(tenant_id="umbrella"), 20, tenant_id="umbrella")
    sent = world.deliveries(world.campaign(free), 200)
    world.wait_until(lambda: world.states().get("sent") == 200)
    assert world.states() == {"sent": 200, "waiting": 26}
    assert world.taken_by_recipient() == {world.phone(contact): 1 for contact in sent}
    assert set(calls_by_number(world)) == set(numbers)
