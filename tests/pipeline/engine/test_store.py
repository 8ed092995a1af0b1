"""The store keeps the newest value of a key, and never claims changelog records that it has not seen."""

import asyncio
import gc
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st
from rocksdict import Rdict

from pipeline.engine import metrics, partition_db
from pipeline.engine.envelope import (
    OFFSET_HEADER,
    CorruptEnvelope,
    offset_bytes,
    payload,
    seal,
    source_offset,
)
from pipeline.engine.partition_db import COUNT_KEY, EXPIRY, PartitionDb, Written
from pipeline.engine.store import Appended, BatchStore, Due, NotAssigned

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
    fields = {"topic": CHANGELOG, "partition": 0, "headers": None, "timestamp": offset / 1000} | message
    return SimpleNamespace(message=SimpleNamespace(offset=offset, key=key, value=value, **fields))


def apply(store: BatchStore, *events: Any) -> None:
    store.apply_changelog_batch(events, to_key=bytes, to_value=bytes)


def test_writes_are_read_back_in_the_order_of_the_keys(store: BatchStore) -> None:
    store.write(0, {b"a": b"1", b"b": b"2", b"c": b""}, reflects=9, appended=Appended(3, 0, 2), at_ms=9)

    assert store.get_many(0, [b"c", b"x", b"a"]) == [b"", None, b"1"]
    assert [*store.items_of(0)] == [(b"a", b"1"), (b"b", b"2"), (b"c", b"")]


def test_none_deletes(store: BatchStore) -> None:
    store.write(0, {b"a": b"1"}, reflects=1, appended=None, at_ms=1)
    store.write(0, {b"a": None}, reflects=2, appended=None, at_ms=2)

    assert store.get_many(0, [b"a"]) == [None]


def test_values_and_position_outlive_the_process(tmp_path: Path) -> None:
    before = make(tmp_path)
    before.write(0, {b"a": b"1"}, reflects=9, appended=Appended(1, 0, 0), at_ms=9)
    asyncio.run(before.on_stop())

    after = make(tmp_path)

    assert after.get_many(0, [b"a"]) == [b"1"]
    assert after.persisted_offset(TP0) == 0
    asyncio.run(after.on_stop())


def test_an_empty_database_holds_nothing_of_the_changelog(store: BatchStore) -> None:
    assert store.persisted_offset(TP0) == -1


def test_the_position_never_passes_records_that_somebody_else_appended(store: BatchStore) -> None:
    assert store.write(0, {b"a": b"1"}, reflects=9, appended=Appended(1, 0, 0), at_ms=9)

    assert not store.write(
        0, {b"a": b"2"}, reflects=19, appended=Appended(1, 5, 5), at_ms=19
    )  # 1 to 4 are not ours
    assert store.get_many(0, [b"a"]) == [b"2"]
    assert store.persisted_offset(TP0) == 0

    assert not store.write(0, {b"b": b"3"}, reflects=29, appended=Appended(2, 6, 8), at_ms=29)
    assert store.persisted_offset(TP0) == 0


def test_recovery_takes_over_values_and_position(store: BatchStore) -> None:
    apply(store, logged(0, b"a", seal(5, b"old")), logged(3, b"a", seal(8, b"new")))

    assert store.get_many(0, [b"a"]) == [b"new"]
    assert store.persisted_offset(TP0) == 3


def test_an_older_value_appended_later_does_not_win(store: BatchStore) -> None:
    store.write(0, {b"a": b"stored"}, reflects=50, appended=None, at_ms=50)

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
        store.write(0, {b"a": b"1"}, reflects=1, appended=None, at_ms=1)


def test_a_damaged_database_is_made_anew_from_the_changelog(tmp_path: Path) -> None:
    before = make(tmp_path)
    before.write(0, {b"a": b"1"}, reflects=9, appended=Appended(1, 0, 0), at_ms=9)
    asyncio.run(before.on_stop())
    for manifest in (tmp_path / "counts" / "0").glob("MANIFEST-*"):
        manifest.write_bytes(b"nonsense" * 10)

    after = make(tmp_path)

    assert after.persisted_offset(TP0) == -1
    asyncio.run(after.on_stop())


def expire(store: BatchStore, before_ms: int, log_start: int = 1 << 40, keys_max: int = 100) -> Due:
    """Delete what is due, as the runner does with a chunk that has nothing else to write."""
    due = store.due(0, before_ms, log_start, keys_max) if store.has_due(0, before_ms) else Due({}, (), False)
    store.write(0, {}, reflects=0, appended=None, at_ms=before_ms, due=due)
    return due


def keys(store: BatchStore) -> set[bytes]:
    held = {key for key, _ in store.items_of(0)}
    assert store.keys_of(0) == len(held)
    return held


def chunk(store: BatchStore, offset: int, at_ms: int, *names: bytes, value: bytes | None = b"v") -> None:
    store.get_many(0, names)
    store.write(0, dict.fromkeys(names, value), reflects=offset, appended=None, at_ms=at_ms)


def test_a_key_expires_so_long_after_its_last_write(store: BatchStore) -> None:
    chunk(store, 9, 1_000, b"a", b"b")
    chunk(store, 19, 2_000, b"b", b"c")

    assert expire(store, 1_000).keys == {}
    assert not store.has_due(0, 1_000)
    assert expire(store, 1_001).keys == {b"a": 9}
    assert keys(store) == {b"b", b"c"}
    assert expire(store, 1_500).keys == {}
    assert not store.has_due(0, 1_500)
    assert expire(store, 2_001).keys == {b"b": 19, b"c": 19}
    assert keys(store) == set()


def test_a_key_stays_while_its_source_topic_has_its_record(store: BatchStore) -> None:
    """Whatever a clock or a retention in the topology says: a rewind can ask for it."""
    chunk(store, 9, 1_000, b"a")
    chunk(store, 19, 1_001, b"b")

    assert expire(store, 5_000, log_start=9) == Due({}, [], held=True)
    assert expire(store, 5_000, log_start=10).keys == {b"a": 9}
    assert keys(store) == {b"b"}


def test_no_more_expires_at_once_than_the_caller_takes(store: BatchStore) -> None:
    for offset in range(10):
        chunk(store, offset, offset, b"%d" % offset)

    assert [len(expire(store, 10, keys_max=4).keys) for _ in range(4)] == [4, 4, 2, 0]


def test_a_key_that_the_chunk_writes_does_not_expire(store: BatchStore) -> None:
    chunk(store, 9, 1_000, b"a", b"b")
    due = store.due(0, 2_000, 10, 100)
    store.get_many(0, [b"a"])
    store.write(0, {b"a": b"new"}, reflects=30, appended=None, at_ms=3_000, due=due)

    assert keys(store) == {b"a"}
    assert expire(store, 3_000).keys == {}
    assert expire(store, 3_001).keys == {b"a": 30}


def test_a_repeat_of_a_chunk_leaves_the_first_ones_keys_in_the_index(store: BatchStore) -> None:
    """Given a chunk that was written, then repeated after a crash with fewer values."""
    store.write(0, {b"a": b"1", b"b": b"1"}, reflects=9, appended=Appended(2, 0, 1), at_ms=1_000)
    store.write(0, {b"a": b"2"}, reflects=9, appended=Appended(1, 2, 2), at_ms=1_000)

    assert set(expire(store, 1_001).keys) == {b"a", b"b"}


def test_keys_are_counted_over_writes_deletions_and_recovery(tmp_path: Path) -> None:
    store = make(tmp_path)
    chunk(store, 9, 1, b"a", b"b")
    chunk(store, 19, 2, b"b", b"c")
    chunk(store, 29, 3, b"c", b"absent", value=None)
    assert keys(store) == {b"a", b"b"}
    apply(
        store,
        logged(0, b"a", seal(99, b"x")),
        logged(1, b"d", seal(99, b"x")),
        logged(2, b"e", seal(99, b"x")),
    )
    apply(store, logged(3, b"d", None, headers=[(OFFSET_HEADER, offset_bytes(99))]), logged(4, b"no", None))
    assert keys(store) == {b"a", b"b", b"e"}
    asyncio.run(store.on_stop())

    again = make(tmp_path)
    assert keys(again) == {b"a", b"b", b"e"}
    asyncio.run(again.on_stop())


def test_what_is_recovered_expires_by_the_time_of_its_changelog_record(store: BatchStore) -> None:
    apply(store, logged(0, b"a", seal(5, b"1"), timestamp=1.0))
    apply(store, logged(1, b"b", seal(6, b"1"), timestamp=2.0))

    assert expire(store, 1_001).keys == {b"a": 5}
    assert expire(store, 2_001).keys == {b"b": 6}


def test_the_tombstones_of_expiry_delete_the_keys_of_a_rebuilt_table(store: BatchStore) -> None:
    chunk(store, 9, 1_000, b"a")
    (found,) = expire(store, 1_001).keys.items()
    at = [(OFFSET_HEADER, offset_bytes(found[1]))]
    apply(store, logged(0, b"a", seal(9, b"v")), logged(1, b"a", None, headers=at))
    assert keys(store) == set()
    apply(store, logged(2, b"a", seal(30, b"back")), logged(3, b"a", None, headers=at))
    assert store.get_many(0, [b"a"]) == [b"back"]


@given(st.lists(st.tuples(st.integers(0, 99), st.sets(st.sampled_from("abc"), min_size=1)), min_size=1))
def test_every_key_expires_whatever_the_order_of_the_records_times(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[tuple[int, set[str]]]
) -> None:
    store = make(tmp_path_factory.mktemp("table"))
    for offset, (at_ms, names) in enumerate(chunks):
        chunk(store, offset, at_ms, *(name.encode() for name in names))
    expire(store, 100, keys_max=1_000)
    assert keys(store) == set()
    asyncio.run(store.on_stop())


def test_a_partition_that_went_is_not_shown_as_held(store: BatchStore) -> None:
    metrics.EXPIRY_HELD.labels("counts", 0).set(1)
    asyncio.run(store.on_rebalance(set(), {TP0}, set()))
    shown = (sample.labels for metric in metrics.EXPIRY_HELD.collect() for sample in metric.samples)
    assert {"table": "counts", "partition": "0"} not in shown


def test_keys_are_indexed_in_bounded_writes_and_again_where_that_was_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {b"a", b"b", b"c", b"d", b"e"}
    before = make(tmp_path)
    before.write(0, dict.fromkeys(names, b"1"), reflects=9, appended=Appended(5, 0, 4), at_ms=1)
    asyncio.run(before.on_stop())
    without_index(tmp_path)
    monkeypatch.setattr(partition_db, "INDEXED_KEYS_MAX", 2)

    def broken(written: Written) -> bytes:
        if written.changelog_offset > 2:
            raise InterruptedError
        return place(written)

    place = partition_db._place
    with monkeypatch.context() as patched:
        patched.setattr(partition_db, "_place", broken)
        with pytest.raises(InterruptedError):
            make(tmp_path)
    gc.collect()  # closes the database
    raw = PartitionDb.__new__(PartitionDb)
    raw._db = Rdict(str(tmp_path / "counts" / "0"), partition_db._options())
    raw._first_ms = 0
    assert [len(entry.keys) for entry in raw.due(1 << 50, 100)] == [2]
    raw.close()

    after = make(tmp_path)
    assert keys(after) == names
    assert set(expire(after, 1 << 50).keys) == names
    asyncio.run(after.on_stop())


def without_index(folder: Path) -> None:
    db = PartitionDb(folder / "counts" / "0")._db
    for key in db.keys(from_key=EXPIRY):
        if bytes(cast(bytes, key))[:1] in (EXPIRY, COUNT_KEY):
            del db[key]
    db.close()


def test_the_keys_of_a_database_without_an_index_expire_too(tmp_path: Path) -> None:
    """Given a database that an earlier version wrote, or that it wrote to after a rollback."""
    before = make(tmp_path)
    before.write(0, {b"a": b"1", b"b": b"1"}, reflects=9, appended=Appended(2, 0, 1), at_ms=1)
    asyncio.run(before.on_stop())
    without_index(tmp_path)

    after = make(tmp_path)
    assert keys(after) == {b"a", b"b"}
    assert expire(after, 2).keys == {}
    assert set(expire(after, 1 << 50).keys) == {b"a", b"b"}
    asyncio.run(after.on_stop())


@given(
    st.lists(
        st.tuples(st.sets(st.sampled_from("abcdef"), min_size=1), st.integers(0, 5), st.integers(0, 30)),
        max_size=30,
    )
)
def test_at_every_moment_exactly_the_keys_within_their_retention_are_held(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[tuple[set[str], int, int]]
) -> None:
    """Given chunks that move time on, each with a moment before which keys expire."""
    store = make(tmp_path_factory.mktemp("table"))
    expected: dict[bytes, int] = {}
    at_ms = expired_to = 0
    for offset, (names, later_ms, before_ms) in enumerate(chunks):
        at_ms += later_ms
        written = [name.encode() for name in sorted(names)]
        chunk(store, offset, at_ms, *written)
        expected |= dict.fromkeys(written, at_ms)
        expired_to = max(expired_to, min(before_ms, at_ms))
        expire(store, expired_to)
        expected = {key: at for key, at in expected.items() if at >= expired_to}
        assert keys(store) == set(expected)
    asyncio.run(store.on_stop())


@given(st.integers(0, 2**62), st.binary())
def test_an_envelope_gives_back_what_was_put_in(offset: int, value: bytes) -> None:
    sealed = seal(offset, value)

    assert source_offset(sealed) == offset
    assert payload(sealed) == value
