"""The limit of people among the words of a notice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.delivery.webhooks.people_limits import PeopleLimit, people_limit_of


@pytest.mark.parametrize(
    ("detail", "people_max"),
    [
        ("TIER_250", 250),
        ("TIER_1K", 1_000),
        ("TIER_10K TIER_2K", 2_000),  # the former one first
        ("2000", 2_000),
        ("GREEN TIER_100K", 100_000),
        ("TIER_10K TIER_UNLIMITED", None),
        ("-1", None),
    ],
)
def test_it_is_the_last_one_stated(detail: str, people_max: int | None) -> None:
    assert people_limit_of(detail) == PeopleLimit(people_max)


@pytest.mark.parametrize("detail", ["", "FLAGGED", "TIER_", "TIER_NOT_SET", "1e9", "99999999999"])
def test_other_words_state_none(detail: str) -> None:
    assert people_limit_of(detail) is None


@given(st.text(max_size=200))
def test_any_text_is_read(detail: str) -> None:
    people_limit_of(detail)
