"""A delivery is not handed on before its own event has left the outbox, and not after too long a wait."""

from __future__ import annotations

from datetime import UTC, date, datetime
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import codec
from schemas.records import Personal
from sinks.delivery.publish_gate import PublishGate
from sinks.delivery.rows import Key, Leased
from tests.support.sender_world import World


def leased(event_id: int, count: int = 1) -> list[Leased]:
    return [
        Leased(
            key=Key(date(2026, 3, 1), "campaign", f"{event_id}-{number}"),
            lease_token=uuid4(),
            delivery_id=str(uuid4()),
            tenant_id="t",
            campaign_version=1,
            variables={},
            priority=0,
            due_at=datetime.now(UTC),
            created_at=datetime.now(UTC),
            attempts=0,
            phone="+5511987654321",
            personal=Personal(),
            event_id=event_id,
        )
        for number in range(count)
    ]


def assigned(event_id: int, count: int = 1, number_id: str = "n") -> list[tuple[str, Leased]]:
    return [(number_id, one) for one in leased(event_id, count)]


@given(st.lists(st.lists(st.integers(1, 30), max_size=4), max_size=6), st.sets(st.integers(1, 30)))
def test_each_delivery_waits_for_its_own_event_alone(claims: list[list[int]], unpublished: set[int]) -> None:
    gate = PublishGate(lambda: 0.0, wait_max_s=10)
    for ids in claims:
        gate.add([one for event_id in ids for one in assigned(event_id)])
    every = [event_id for ids in claims for event_id in ids]
    assert gate.event_ranges() == [(min(ids), max(ids)) for ids in claims if ids]
    published, late = gate.take(unpublished)
    passed = [one.event_id for _, one in published]
    assert passed == [event_id for event_id in every if event_id not in unpublished]
    assert late == []
    assert gate.count("n") + len(passed) == len(every)
    assert bool(gate) == bool(gate.count("n"))
    rest, _ = gate.take(set())
    assert sorted(passed + [one.event_id for _, one in rest]) == sorted(every)


def test_a_claim_that_nobody_publishes_is_handed_back() -> None:
    now_s = 0.0
    gate = PublishGate(lambda: now_s, wait_max_s=10)
    gate.add(assigned(5, count=3) + assigned(6))
    now_s = 10.5
    published, late = gate.take({5})
    assert (len(published), len(late), bool(gate)) == (1, 3, False)


def test_at_a_stop_everything_is_given_up_once() -> None:
    gate = PublishGate(lambda: 0.0, wait_max_s=10)
    gate.add(assigned(5, count=3))
    gate.add(assigned(6, number_id="other"))
    assert (gate.count("n"), gate.count("other")) == (3, 1)
    assert len(gate.give_up()) == 4
    assert gate.give_up() == []


def test_an_event_of_another_that_is_not_published_holds_nobody_and_its_own_holds_a_delivery(
    world: World,
) -> None:
    """The outbox is emptied by the test, except for a foreign event and for one delivery's own."""
    world.db.execute("INSERT INTO outbox (topic, key, value) VALUES ('campaigns', 'stuck', 'too large')")
    world.number()
    held, *others = world.deliveries(world.campaign(), 20)
    world.simulator()
    sender = world.sender(publish_before_call=True)

    def published() -> bool:
        world.db.execute(
            "DELETE FROM outbox WHERE topic = 'delivery_events' AND convert_from(key, 'UTF8') <> %s",
            [delivery_id_of(world, held)],
        )
        return world.states().get("sent") == len(others)

    world.wait_until(published)
    assert world.db.execute("SELECT count(*) FROM outbox WHERE topic = 'campaigns'").fetchone() == (1,)
    world.wait_until(lambda: "waited too long to be published" in reasons(world, held))
    assert world.phone(held) not in world.taken_by_recipient()
    world.db.execute("DELETE FROM outbox WHERE topic = 'delivery_events'")

    def all_sent() -> bool:
        world.db.execute("DELETE FROM outbox WHERE topic = 'delivery_events'")
        return world.states() == {"sent": 20}

    world.wait_until(all_sent)
    assert set(world.taken_by_recipient().values()) == {1}
    assert sender.poll() is None


def delivery_id_of(world: World, contact: str) -> str:
    row = world.db.execute(
        "SELECT delivery_id::text FROM deliveries WHERE contact_id = %s", [contact]
    ).fetchone()
    assert row is not None
    return str(row[0])


def reasons(world: World, contact: str) -> set[str]:
    """Of the changes of this delivery that are still in the outbox."""
    rows = world.db.execute(
        "SELECT value FROM outbox WHERE key = convert_to(%s, 'UTF8')", [delivery_id_of(world, contact)]
    )
    return {codec("delivery_event").decode(value).reason for (value,) in rows}
