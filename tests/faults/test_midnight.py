"""Completions on both sides of a midnight, on days for which nothing was made ahead."""

from __future__ import annotations

from datetime import UTC, date, datetime

from hypothesis import given
from hypothesis import strategies as st

from ops.chaos.machine.midnight import AROUND, names_of, times_around


@given(st.dates(date(2000, 1, 1), date(2100, 1, 1)))
def test_half_lie_before_and_half_after(day: date) -> None:
    days = [datetime.fromtimestamp(at_ms / 1000, UTC).date() for at_ms in times_around(day)]
    assert len(days) == AROUND
    assert days == sorted(days)
    assert days.count(day) == AROUND // 2
    assert {(day - each).days for each in days} == {0, 1}


def test_both_days_need_a_partition_of_each_table() -> None:
    assert names_of(date(2026, 12, 1)) == {
        "completions_20261130",
        "completions_20261201",
        "outcomes_20261130",
        "outcomes_20261201",
    }
