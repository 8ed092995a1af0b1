"""Curves are judged by their medians, sizes take turns, and a round does the same work at each size."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from benchmarks.plans import Growth
from benchmarks.scenarios.growth import curves, state
from benchmarks.scenarios.growth.campaigns import SHAPES, Judging
from benchmarks.scenarios.growth.rounds import curve, interleaved, until_quiet


class Counted:
    """A subject whose work takes so long by a clock of the test's."""

    def __init__(self, clock: list[float], seconds: float, turns: list[str], name: str) -> None:
        self._clock, self._seconds, self._turns, self._name = clock, seconds, turns, name

    def ready(self) -> Callable[[], int]:
        self._clock[0] += 99.0  # what is prepared is not counted

        def work() -> int:
            self._turns.append(self._name)
            self._clock[0] += self._seconds
            return 1000

        return work


def test_sizes_take_turns_and_only_the_work_is_counted() -> None:
    clock, turns = [0.0], list[str]()
    subjects = {1: Counted(clock, 0.01, turns, "small"), 2: Counted(clock, 0.02, turns, "large")}
    used = interleaved(subjects, 3, random.Random(1), lambda: clock[0])

    assert used == {1: [pytest.approx(10.0)] * 3, 2: [pytest.approx(20.0)] * 3}
    rounds = [set(turns[first : first + 2]) for first in range(0, len(turns), 2)]
    assert rounds == [{"small", "large"}] * 4  # one warms up


def test_a_curve_that_rises_by_more_than_the_limit_bends_and_one_outlier_does_not_bend_it() -> None:
    flat = curve("a", "keys", {10: [1.0, 1.0, 9.0], 1000: [1.1, 1.2, 1.2]}, 1.2)
    bent = curve("b", "keys", {10: [1.0, 1.0, 1.0], 1000: [1.3, 1.3, 1.3]}, 1.2)
    shown = curve("c", "keys", {10: [1.0], 1000: [9.0]}, None)

    assert (flat.flat, flat.bend) == (True, 1.2)
    assert (bent.flat, bent.bend) == (False, 1.3)
    assert shown.flat is None


def test_it_is_quiet_once_the_process_uses_no_cpu() -> None:
    used = iter([0.0, 0.2, 0.2, 0.4, 0.4, 0.4])
    assert until_quiet(lambda: next(used), lambda _s: None, timeout_s=10.0)
    busy = iter(range(1000))
    assert not until_quiet(lambda: float(next(busy)), lambda _s: None, timeout_s=10.0)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_completion_matches_two_campaigns_however_many_there_are(shape: str) -> None:
    for count in (10, 500):
        assert Judging(shape, count, records=300).matches_per_completion() == pytest.approx(2, abs=0.5)


def test_a_stage_on_a_filled_table_meets_known_and_new_keys(tmp_path: Path) -> None:
    keys, partitions = 400, 2
    with state.DEDUP.open(tmp_path, partitions) as store:
        state.DEDUP.fill(store, partitions, keys)
        before = sum(len([*store.items_of(partition)]) for partition in range(partitions))
        subject = state.dedup(store, partitions, keys)
        done = subject.ready()()
        after = sum(len([*store.items_of(partition)]) for partition in range(partitions))

    assert before == keys
    new = after - before
    assert done == state.RECORDS * state.CHUNKS
    assert 0.85 * done < new < 0.95 * done  # a tenth are duplicates


def test_a_small_run_measures_every_curve_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(curves, "Judging", partial(Judging, records=200))
    monkeypatch.setattr(state, "RECORDS", 50)
    result = curves.measure(Growth("10,20", "200,400", "1,2", 3), lambda _line: None)

    names = {(found.name, found.grows) for found in result.curves}
    assert ("dedup with its table", "keys") in names
    assert ("dedup with its table", "partitions") in names
    assert all(len(found.points) == 2 for found in result.curves)
    assert result.ok == all(found.flat is not False for found in result.curves)
    assert [*tmp_path.iterdir()] == []
