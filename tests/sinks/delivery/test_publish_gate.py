"""A claim is not handed on before the outbox has let go of its events, and not after too long a wait."""

from __future__ import annotations

from datetime import UTC, date, datetime
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from schemas.records import Personal
from sinks.delivery.publish_gate import Unpublished
from sinks.delivery.rows import Key, Leased


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


@given(st.lists(st.integers(1, 20), max_size=8), st.none() | st.integers(1, 21))
def test_what_is_below_the_first_unpublished_event_goes_on_and_the_rest_waits(
    claims: list[int], first: int | None
) -> None:
    waiting = Unpublished(lambda: 0.0, wait_max_s=10)
    for event_id in claims:
        waiting.add("t", leased(event_id))
    published, late = waiting.take(first)
    assert [one.event_id for _, some in published for one in some] == [
        event_id for event_id in claims if first is None or event_id < first
    ]
    assert late == []
    assert waiting.count("t") + len(published) == len(claims)


def test_a_claim_that_nobody_publishes_is_handed_back() -> None:
    now_s = 0.0
    waiting = Unpublished(lambda: now_s, wait_max_s=10)
    waiting.add("t", leased(5, count=3))
    now_s = 10.5
    published, late = waiting.take(first_unpublished=2)
    assert (published, len(late), bool(waiting)) == ([], 3, False)


def test_at_a_stop_everything_is_given_up_once() -> None:
    waiting = Unpublished(lambda: 0.0, wait_max_s=10)
    waiting.add("t", leased(5, count=3))
    waiting.add("other", leased(6))
    assert (waiting.count("t"), waiting.count("other")) == (3, 1)
    assert len(waiting.give_up()) == 4
    assert waiting.give_up() == []
