from __future__ import annotations

from benchmarks.backlog import Look, growth_per_s


def looks(*totals: int) -> list[Look]:
    return [Look(float(at), {"sink": total}) for at, total in enumerate(totals)]


def test_a_backlog_that_grows_is_told_by_its_speed() -> None:
    assert growth_per_s(looks(0, 10, 20, 30, 40, 50)) == 10.0


def test_a_backlog_that_only_varies_is_flat() -> None:
    assert growth_per_s(looks(5, 900, 3, 4, 4, 5, 700, 3)) == 0.0


def test_a_few_looks_say_nothing() -> None:
    assert growth_per_s(looks(0, 1000)) is None
