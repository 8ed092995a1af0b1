"""People who are made up are valid, each another one, and the same each time."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.demo.phones import ROWS_MAX, demo_phone


@given(st.text(min_size=1, max_size=40), st.integers(0, ROWS_MAX - 1))
def test_every_row_of_every_quiz_has_a_valid_brazilian_mobile(quiz_id: str, row: int) -> None:
    number = phonenumbers.parse(demo_phone(quiz_id, row))
    assert phonenumbers.is_valid_number_for_region(number, "BR")
    assert phonenumbers.number_type(number) == phonenumbers.PhoneNumberType.MOBILE
    assert demo_phone(quiz_id, row) == demo_phone(quiz_id, row)


@given(st.text(min_size=1, max_size=40), st.integers(0, ROWS_MAX - 1), st.integers(0, ROWS_MAX - 1))
def test_two_rows_are_two_people(quiz_id: str, one: int, other: int) -> None:
    assert (demo_phone(quiz_id, one) == demo_phone(quiz_id, other)) == (one == other)


def test_ten_thousand_rows_are_ten_thousand_people() -> None:
    assert len({demo_phone("bfi", row) for row in range(10_000)}) == 10_000


def test_a_row_beyond_the_last_is_refused() -> None:
    with pytest.raises(ValueError, match="outside"):
        demo_phone("bfi", ROWS_MAX)
