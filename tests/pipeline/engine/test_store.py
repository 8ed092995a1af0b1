"""The store keeps the newest value of a key, and never claims changelog records that it has not seen."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.envelope import (
    OFFSET_HEADER,
    CorruptEnvelope,
    offset_bytes,
    payload,
    seal,
    source_offset,
)
from pipeline.engine.store import Appended, BatchStore, NotAssigned

CHANGELOG = "changelog"
TP0 = TP(CHANGELOG, 0)


def make(folder: Path) -> BatchStore:
    app = SimpleNamespace(conf=SimpleNamespace(tabledir=folder), loop=None)
    topic = SimpleNamespace(get_topic_name=lambda: CHANGELOG, topics=[CHANGELOG])
    table = SimpleNamespace(name="counts", changelog_topic=topic)
    store = BatchStore("batch://", app, table)
    asyncio.run(store.on_rebalance({TP0}, set(), {TP0}))
    return store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BatchStore]:
    made = make(tmp_path)
    yield made
    asyncio.run(made.on_stop())


def logged(offset: int, key: bytes, value: bytes | None, **message: Any) -> Any:
    fields = {"topic": CHANGELOG, "partition": 0, "headers": None} | message
    return SimpleNamespace(message=SimpleNamespace(offset=offset, key=key, value=value, **fields))


def apply(store: BatchStore, *events: Any) -> None:
    store.apply_changelog_batch(events, to_key=bytes, to_value=bytes)


def test_writes_are_read_back_in_the_order_of_the_keys(store: BatchStore) -> None:
    store.write(0, {b"a": b"1", b"b": b"2", b"c": b""}, reflects=9, appended=Appended(3, 0, 2))

    assert store.get_many(0, [b"c", b"x", b"a"]) == [b"", None, b"1"]
    assert [*store.items_of(0)] == [(b"a", b"1"), (b"b", b"2"), (b"c", b"")]


def test_none_deletes(store: BatchStore) -> None:
    store.write(0, {b"a": b"1"}, reflects=1, appended=None)
    store.write(0, {b"a": None}, reflects=2, appended=None)

    assert store.get_many(0, [b"a"]) == [None]


def test_values_and_position_outlive_the_process(tmp_path: Path) -> None:
    before = make(tmp_path)
    before.write(0, {b"a": b"1"}, reflects=9, appended=Appended(1, 0, 0))
    asyncio.run(before.on_stop())

    after = make(tmp_path)

    assert after.get_many(0, [b"a"]) == [b"1"]
    assert after.persisted_offset(TP0) == 0
    asyncio.run(after.on_stop())


def test_an_empty_database_holds_nothing_of_the_changelog(store: BatchStore) -> None:
    assert store.persisted_offset(TP0) == -1


def test_the_position_never_passes_records_that_somebody_else_appended(store: BatchStore) -> None:
    assert store.write(0, {b"a": b"1"}, reflects=9, appended=Appended(1, 0, 0))

    assert not store.write(0, {b"a": b"2"}, reflects=19, appended=Appended(1, 5, 5))  # 1 to 4 are not ours
    assert store.get_many(0, [b"a"]) == [b"2"]
    assert store.persisted_offset(TP0) == 0

    assert not store.write(0, {b"b": b"3"}, reflects=29, appended=Appended(2, 6, 8))
    assert store.persisted_offset(TP0) == 0


def test_recovery_takes_over_values_and_position(store: BatchStore) -> None:
    apply(store, logged(0, b"a", seal(5, b"old")), logged(3, b"a", seal(8, b"new")))

    assert store.get_many(0, [b"a"]) == [b"new"]
    assert store.persisted_offset(TP0) == 3


def test_an_older_value_appended_later_does_not_win(store: BatchStore) -> None:
    store.write(0, {b"a": b"stored"}, reflects=50, appended=None)

    apply(store, logged(0, b"a", seal(40, b"older")))
    apply(store, logged(1, b"a", seal(60, b"newer")), logged(2, b"a", seal(55, b"older")))

    assert store.get_many(0, [b"a"]) == [b"newer"]
    assert store.persisted_offset(TP0) == 2


def test_a_tombstone_deletes_only_what_is_older_than_it(store: BatchStore) -> None:
    apply(store, logged(0, b"a", seal(5, b"1")), logged(1, b"b", seal(9, b"2")))
    at_seven = [(OFFSET_HEADER, offset_bytes(7))]

    apply(store, logged(2, b"a", None, headers=at_seven), logged(3, b"b", None, headers=at_seven))

    assert store.get_many(0, [b"a", b"b"]) == [None, b"2"]


@given(
    st.lists(st.tuples(st.sampled_from([b"a", b"b"]), st.integers(0, 30)), max_size=30), st.integers(1, 10)
)
def test_recovery_ends_with_the_highest_source_offset_of_each_key(
    tmp_path_factory: pytest.TempPathFactory, appended: list[tuple[bytes, int]], batch: int
) -> None:
    store = make(tmp_path_factory.mktemp("table"))
    events = [logged(i, key, seal(at, b"%d" % at)) for i, (key, at) in enumerate(appended)]
    for start in range(0, len(events), batch):
        apply(store, *events[start : start + batch])

    for key in (b"a", b"b"):
        highest = max((at for k, at in appended if k == key), default=None)
        assert store.get_many(0, [key]) == [None if highest is None else b"%d" % highest]
    asyncio.run(store.on_stop())


def test_a_value_that_this_program_did_not_write_is_an_error(store: BatchStore) -> None:
    with pytest.raises(CorruptEnvelope):
        source_offset(b"short")


def test_a_changelog_record_that_cannot_be_read_is_named_and_the_position_stays_before_it(
    store: BatchStore,
) -> None:
    apply(store, logged(0, b"a", seal(1, b"1")))
    apply(store, logged(1, b"b", b"\xff\xff"), logged(2, b"c", seal(2, b"2")))
    apply(store, logged(3, b"d", seal(3, b"3")))

    (found,) = store.unreadable()
    assert found[:3] == (CHANGELOG, 0, 1)
    assert store.persisted_offset(TP0) == 0
    assert store.get_many(0, [b"a", b"b", b"c", b"d"]) == [b"1", None, b"2", b"3"]


@pytest.mark.parametrize(("repair", "value"), [(seal(0, b"again"), b"again"), (None, None)])
def test_a_later_record_of_its_key_supersedes_it(
    store: BatchStore, repair: bytes | None, value: bytes | None
) -> None:
    apply(store, logged(0, b"b", b"\xff\xff"), logged(1, b"c", seal(2, b"2")))
    apply(store, logged(2, b"b", repair))

    assert store.unreadable() == []
    assert store.persisted_offset(TP0) == 2
    assert store.get_many(0, [b"b", b"c"]) == [value, b"2"]


def test_a_partition_that_went_takes_its_unreadable_records_along(store: BatchStore) -> None:
    apply(store, logged(0, b"b", b"\xff\xff"))
    asyncio.run(store.on_rebalance(set(), {TP0}, set()))
    assert store.unreadable() == []


def test_events_of_another_table_or_partition_are_left_out(store: BatchStore) -> None:
    apply(store, logged(0, b"a", seal(1, b"1"), topic="other"), logged(0, b"a", seal(1, b"1"), partition=3))

    assert store.get_many(0, [b"a"]) == [None]
    assert not store.is_open(3)


def test_a_partition_that_went_can_neither_be_read_nor_written(store: BatchStore) -> None:
    asyncio.run(store.on_rebalance(set(), {TP0}, set()))

    with pytest.raises(NotAssigned):
        store.get_many(0, [b"a"])
    with pytest.raises(NotAssigned):
        store.write(0, {b"a": b"1"}, reflects=1, appended=None)


def test_a_damaged_database_is_made_anew_from_the_changelog(tmp_path: Path) -> None:
    before = make(tmp_path)
    before.write(0, {b"a": b"1"}, reflects=9, appended=Appended(1, 0, 0))
    asyncio.run(before.on_stop())
    for manifest in (tmp_path / "counts" / "0").glob("MANIFEST-*"):
        manifest.write_bytes(b"nonsense" * 10)

    after = make(tmp_path)

    assert after.persisted_offset(TP0) == -1
    asyncio.run(after.on_stop())


@given(st.integers(0, 2**62), st.binary())
def test_an_envelope_gives_back_what_was_put_in(offset: int, value: bytes) -> None:
    sealed = seal(offset, value)

    assert source_offset(sealed) == offset
    assert payload(sealed) == value
