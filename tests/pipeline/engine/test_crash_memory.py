"""The record that kills its process is found, and given up at the third death; its neighbours are not."""

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.crash_memory import DEATHS_MAX, CrashMemory
from pipeline.runtime.record import Record


def chunk(first: int, last: int) -> list[Record]:
    return [Record("t", 0, offset, 0, None, None) for offset in range(first, last + 1)]


class Died(Exception):
    """The process is gone: nothing after this line runs."""


def live(path: Path, records: list[Record], killers: set[int]) -> tuple[list[int], list[int]]:
    """One life: process the chunk; returns the offsets processed and those given up. Raises `Died`."""
    memory = CrashMemory(path)
    try:
        plan = memory.plan(records)
        processed = []
        for unit in memory.units(plan):
            if killers & {r.offset for r in unit}:
                raise Died
            processed += [r.offset for r in unit]
        memory.survived(records[-1].offset)
        return processed, [r.offset for r in plan.given_up]
    finally:
        memory.close()


def lives(path: Path, records: list[Record], killers: set[int]) -> tuple[int, list[int], list[int]]:
    for deaths in range(100):
        try:
            return deaths, *live(path, records, killers)
        except Died:
            continue
    raise AssertionError("dies for ever")


def test_a_healthy_chunk_is_one_unit_and_leaves_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "0"
    assert live(path, chunk(0, 9), set()) == ([*range(10)], [])

    assert CrashMemory(path).plan(chunk(10, 19)).units == [chunk(10, 19)]


def test_the_killer_is_given_up_at_its_third_death(tmp_path: Path) -> None:
    deaths, processed, given_up = lives(tmp_path / "0", chunk(0, 9), {4})

    assert deaths == DEATHS_MAX
    assert given_up == [4]
    assert processed == [0, 1, 2, 3, 5, 6, 7, 8, 9]


@given(st.sets(st.integers(0, 19), max_size=4))
def test_all_killers_are_found_and_only_they(killers: set[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _, processed, given_up = lives(Path(folder) / "0", chunk(0, 19), killers)

    assert set(given_up) == killers
    assert processed == [offset for offset in range(20) if offset not in killers]


def test_a_death_during_delivery_accuses_nobody(tmp_path: Path) -> None:
    memory = CrashMemory(tmp_path / "0")
    for _ in memory.units(memory.plan(chunk(0, 9))):
        pass
    memory.close()  # killed here, before the ack

    assert CrashMemory(tmp_path / "0").plan(chunk(0, 9)).units == [chunk(0, 9)]


def test_suspects_are_tried_alone_however_the_chunk_is_cut_next_time(tmp_path: Path) -> None:
    memory = CrashMemory(tmp_path / "0")
    next(iter(memory.units(memory.plan(chunk(5, 7)))))
    memory.close()  # killed with 5 to 7 in hand

    plan = CrashMemory(tmp_path / "0").plan(chunk(5, 20))

    assert plan.units == [chunk(5, 5), chunk(6, 6), chunk(7, 7), chunk(8, 20)]


def test_deaths_of_a_record_are_kept_when_the_process_dies_elsewhere_later(tmp_path: Path) -> None:
    path = tmp_path / "0"
    for _ in range(DEATHS_MAX):
        try:
            live(path, chunk(0, 9), {4})
        except Died:
            continue
    memory = CrashMemory(path)
    plan = memory.plan(chunk(0, 9))
    for _ in memory.units(plan):
        pass
    memory.close()  # processed without 4, killed before the ack

    assert [r.offset for r in CrashMemory(path).plan(chunk(0, 9)).given_up] == [4]
