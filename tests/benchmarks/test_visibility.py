from __future__ import annotations

from benchmarks.visibility import Positions


def test_a_record_is_visible_once_a_position_behind_it_was_seen() -> None:
    positions = Positions()
    positions.saw("rows", 0, 0, at=1.0)
    positions.saw("rows", 0, 5, at=2.0)
    positions.saw("rows", 0, 5, at=3.0)
    positions.saw("rows", 0, 9, at=4.0)
    assert positions.visible_at("rows", 0, 0) == 2.0
    assert positions.visible_at("rows", 0, 4) == 2.0
    assert positions.visible_at("rows", 0, 5) == 4.0  # a position is the next offset: 5 is not stored yet
    assert positions.visible_at("rows", 0, 9) is None
    assert positions.visible_at("rows", 1, 0) is None
    assert positions.visible_at("others", 0, 0) is None


def test_what_was_passed_by_a_time_is_summed_over_partitions() -> None:
    positions = Positions()
    positions.saw("rows", 0, 10, at=1.0)
    positions.saw("rows", 1, 3, at=2.0)
    positions.saw("rows", 0, 20, at=3.0)
    positions.saw("others", 0, 1000, at=1.0)
    assert positions.passed_by("rows", at=0.5) == 0
    assert positions.passed_by("rows", at=2.0) == 13
    assert positions.passed_by("rows", at=9.0) == 23
