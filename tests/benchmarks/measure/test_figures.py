from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.measure.figures import percentiles_ms


def test_percentiles_are_values_that_were_measured() -> None:
    told = percentiles_ms([number / 1000 for number in range(1, 1001)])
    assert (told.count, told.p50, told.p99, told.max) == (1000, 500.0, 990.0, 1000.0)


def test_nothing_measured_is_no_zero() -> None:
    told = percentiles_ms([])
    assert (told.count, told.p50, told.p99, told.max) == (0, None, None, None)


@given(st.lists(st.floats(0, 100), min_size=1))
def test_at_most_one_percent_lies_above_the_99th(seconds: list[float]) -> None:
    told = percentiles_ms(seconds)
    assert told.p50 is not None
    assert told.p99 is not None
    assert told.max is not None
    assert told.p50 <= told.p99 <= told.max
    above = sum(round(1000 * each, 2) > told.p99 for each in seconds)
    assert above <= len(seconds) / 100
