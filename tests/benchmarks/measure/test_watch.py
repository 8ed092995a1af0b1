from __future__ import annotations

from benchmarks.measure.watch import Offsets, Waiting, growth_per_s


def test_a_record_is_visible_once_an_offset_behind_it_was_seen() -> None:
    offsets = Offsets()
    offsets.saw("rows", 0, 0, at=1.0)
    offsets.saw("rows", 0, 5, at=2.0)
    offsets.saw("rows", 0, 5, at=3.0)
    offsets.saw("rows", 0, 9, at=4.0)
    assert offsets.visible_at("rows", 0, 0) == 2.0
    assert offsets.visible_at("rows", 0, 4) == 2.0
    assert offsets.visible_at("rows", 0, 5) == 4.0  # committed is the next offset: 5 is not stored yet
    assert offsets.visible_at("rows", 0, 9) is None
    assert offsets.visible_at("rows", 1, 0) is None
    assert offsets.visible_at("others", 0, 0) is None


def test_what_was_passed_by_a_time_is_summed_over_partitions() -> None:
    offsets = Offsets()
    offsets.saw("rows", 0, 10, at=1.0)
    offsets.saw("rows", 1, 3, at=2.0)
    offsets.saw("rows", 0, 20, at=3.0)
    offsets.saw("others", 0, 1000, at=1.0)
    assert offsets.passed_by("rows", at=0.5) == 0
    assert offsets.passed_by("rows", at=2.0) == 13
    assert offsets.passed_by("rows", at=9.0) == 23


def looks(*totals: int) -> list[Waiting]:
    return [Waiting(float(at), {"sink": total}) for at, total in enumerate(totals)]


def test_a_backlog_that_grows_is_told_by_its_speed() -> None:
    assert growth_per_s(looks(0, 10, 20, 30, 40, 50)) == 10.0


def test_a_backlog_that_only_varies_is_flat() -> None:
    assert growth_per_s(looks(5, 900, 3, 4, 4, 5, 700, 3)) == 0.0


def test_a_few_looks_say_nothing() -> None:
    assert growth_per_s(looks(0, 1000)) is None
