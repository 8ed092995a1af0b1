"""Each repeat counts for the change of the group that came before it."""

from benchmarks.scenarios.rebalance import Change, attribute


def test_repeats_go_to_the_last_change_before_them() -> None:
    changed = [("joins", 110.0), ("leaves", 130.0)]

    stray, changes = attribute([109.9, 110.0, 115.0, 129.0, 131.0], changed, 100.0, 2.0)

    assert stray == 1
    assert changes == [Change("joins", 10.0, 3, 1.5), Change("leaves", 30.0, 1, 0.5)]


def test_a_change_without_repeats_is_told_too() -> None:
    assert attribute([], [("joins", 5.0)], 0.0, 100.0) == (0, [Change("joins", 5.0, 0, 0.0)])
