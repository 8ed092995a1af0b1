from __future__ import annotations

import pytest

from benchmarks.scenarios.sender import fastest_window


@pytest.mark.parametrize(
    ("calls", "most"),
    [
        ([], 0),
        ([5.0], 1),
        ([0.0, 0.5, 1.0], 2),  # a second later is another second
        ([0.0, 0.9, 1.1, 1.8, 1.85], 4),  # the window slides: 0.9 to 1.85
    ],
)
def test_the_fastest_second_may_begin_anywhere(calls: list[float], most: int) -> None:
    assert fastest_window(calls) == most
    assert fastest_window(calls[::-1]) == most
