"""A contact's data follow the newest completion, and only what it states, in whatever order they come."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.records import Completion, Personal
from sinks.postgres.tables.completions import Completions
from tests.support.samples import NOW_MS, completion, number
from tests.support.sinks import Corner

CONTACT = f"{1:032x}"
YEAR_MS = 365 * 86_400_000


def told(key: int, at_ms: int, name: str | None, email: str | None = None) -> Completion:
    """Completion `key` of the one contact."""
    personal = Personal(phone="+5547989211984", name=name, email=email)
    changes: dict[str, Any] = {"contact_id": CONTACT, "accepted_at": at_ms, "personal": personal}
    return completion(key, completion_id=number(key), **changes)


def contact(corner: Corner) -> tuple[object, ...]:
    return corner.rows("SELECT name, email FROM contacts")[0]


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("repeated_as", ["Ana", "Another"])
def test_a_repeat_of_an_old_key_changes_nothing(corner: Corner, together: bool, repeated_as: str) -> None:
    events = [
        told(0, NOW_MS - 3_000, "Ana"),
        told(1, NOW_MS - 2_000, "Ana Nova"),
        told(0, NOW_MS - 1_000, repeated_as),
    ]
    for batch in [events] if together else [[event] for event in events]:
        corner.write(Completions(), batch)

    assert contact(corner) == ("Ana Nova", None)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("together", [True, False])
def test_a_completion_without_a_name_erases_none_in_any_order(
    corner: Corner, order: tuple[int, ...], together: bool
) -> None:
    events = [
        told(0, NOW_MS - 3_000, "Ana", "ana@example.com"),
        told(1, NOW_MS - 2_000, "Ana Nova"),
        told(2, NOW_MS - 1_000, None),
    ]
    shuffled = [events[place] for place in order]
    for batch in [shuffled] if together else [[event] for event in shuffled]:
        corner.write(Completions(), batch)
    corner.write(Completions(), shuffled)

    assert contact(corner) == ("Ana Nova", "ana@example.com")


NAMES = st.sampled_from(["Ana", "Ana Nova", "Eva", None])
EMAILS = st.sampled_from(["ana@example.com", "nova@example.com", None])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(NAMES, EMAILS), min_size=1, max_size=6), st.data())
def test_the_newest_statement_of_each_field_holds_in_any_order_of_batches(
    corner: Corner, stated: list[tuple[str | None, str | None]], data: st.DataObject
) -> None:
    """Completions one second apart come in any order, in any batches, each once or twice."""
    events = [
        told(key, NOW_MS - (len(stated) - key) * 1_000, name, email)
        for key, (name, email) in enumerate(stated)
    ]
    repeats = data.draw(st.lists(st.sampled_from(events), max_size=4))
    arrivals = data.draw(st.permutations([*events, *repeats]))
    cut = data.draw(st.integers(0, len(arrivals)))
    for table in ("contacts", "completions", "completions_apart"):
        corner.connection.execute(f"DELETE FROM {table}")

    for batch in filter(None, (arrivals[:cut], arrivals[cut:])):
        corner.write(Completions(), batch)

    newest = [
        next((field for field in reversed(fields) if field), None) for fields in zip(*stated, strict=True)
    ]
    assert contact(corner) == tuple(newest)


def test_an_acceptance_in_the_future_does_not_freeze_the_contact(corner: Corner) -> None:
    corner.write(Completions(), [told(0, NOW_MS + 10 * YEAR_MS, "Ana")])
    now_ms = int(str(corner.rows("SELECT (extract(epoch FROM now()) * 1000)::bigint + 1")[0][0]))
    corner.write(Completions(), [told(1, now_ms, "Ana Nova")])

    assert contact(corner) == ("Ana Nova", None)


def test_a_contact_of_before_that_is_frozen_in_the_future_thaws(corner: Corner) -> None:
    corner.rows(
        "INSERT INTO contacts (tenant_id, contact_id, phone, name, seen_at)"
        " VALUES ('demo', %s, '+5547989211984', 'Ana', now() + interval '10 years') RETURNING 1",
        CONTACT,
    )
    corner.write(Completions(), [told(1, NOW_MS, "Ana Nova")])

    assert contact(corner) == ("Ana Nova", None)
