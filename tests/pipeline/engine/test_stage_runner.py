"""The runner makes everything durable in the only safe order, and acks last or not at all."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from pipeline.engine.batch_producer import Delivered, DeliveryFailed, DeliveryRejected, Outgoing
from pipeline.engine.chunk import Chunk
from pipeline.engine.envelope import OFFSET_HEADER, offset_bytes, seal
from pipeline.engine.offset_tracker import Tracker
from pipeline.engine.stage_runner import Limits, StageRunner, StateTable
from pipeline.engine.store import NOTHING_DUE, Appended, Due, NotAssigned
from pipeline.runtime.record import Output, Poison, Record
from pipeline.stages.contract import Put, StageResult, StateReader

SUSPICIOUS_S = 5.0


class TP(NamedTuple):
    topic: str
    partition: int


TP0 = TP("in", 0)


def echo(records: Sequence[Record], read: StateReader) -> StageResult:
    return StageResult([Output("out", r.key or b"", b"v") for r in records], [Put("t", b"k", b"v")], [])


class World:
    """A runner with everything around it scripted; `log` says what happened, in order."""

    def __init__(self, tmp_path: Path, outcomes: Sequence[Exception | None] = ()) -> None:
        self.log: list[Any] = []
        self.outcomes = list(outcomes)
        self.tracker = Tracker()
        self.now_s = 0.0
        self.stored: dict[bytes, bytes] = {}
        self.owned = True
        self.expired_ms: dict[
            bytes, int
        ] = {}  # keys of the table that expire, by the time of their last write
        self.log_start, self.now_ms, self.record_ms = 100, 1_000_000, 0
        self.on_deliver: Callable[[], object] = lambda: None
        self.on_sleep: Callable[[], object] = lambda: None
        self.process: Callable[[Sequence[Record], StateReader], StageResult] = echo
        stage: Any = SimpleNamespace(name="s", tables=("t",), process=self._process)
        self.runner = StageRunner(
            stage,
            tables={"t": StateTable(self, "changelog", retention_ms=1_000)},  # type: ignore[arg-type]
            producer=self,
            tracker=lambda: self.tracker,
            highwater=lambda tp: 0,
            dead_letter=lambda poison: Output("dead", b"", poison.reason.encode()),
            crash_dir=tmp_path,
            limits=Limits(output_bytes_max=1000, suspicious_s=SUSPICIOUS_S, heartbeat_wait_s=1.0),
            log_start=self._log_start,
            now_ms=lambda: self.now_ms,
            clock=lambda: self.now_s,
            sleep=self._sleep,
            rng=random.Random(0),
        )

    def _process(self, records: Sequence[Record], read: StateReader) -> StageResult:
        self.log.append("process")
        return self.process(records, read)

    async def _sleep(self, delay_s: float) -> None:
        self.now_s += delay_s
        self.log.append("sleep")
        self.on_sleep()

    async def deliver(
        self, records: Sequence[Outgoing], positioned: Sequence[Outgoing] = ()
    ) -> Mapping[tuple[str, int], Delivered]:
        self.log.append(("deliver", [*records], [*positioned]))
        self.on_deliver()
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if outcome is not None:
            raise outcome
        return {("changelog", 0): Delivered(len(positioned), 7, 6 + len(positioned))} if positioned else {}

    def get_many(self, partition: int, keys: Sequence[bytes]) -> list[bytes | None]:
        if not self.owned:
            raise NotAssigned
        return [self.stored.get(key) for key in keys]

    def has_due(self, partition: int, before_ms: int) -> bool:
        return bool(self.expired_ms) and before_ms > min(self.expired_ms.values())

    def due(self, partition: int, before_ms: int, log_start: int, keys_max: int) -> Due:
        self.log.append(("due", before_ms, log_start, keys_max))
        keys = {key: 3 for key, at_ms in self.expired_ms.items() if at_ms < before_ms and log_start > 3}
        return Due(keys, [b"entry"] if keys else [], held=not keys)

    def write(
        self,
        partition: int,
        values: Any,
        reflects: int,
        appended: Appended | None,
        at_ms: int,
        due: Due = NOTHING_DUE,
    ) -> bool:
        self.log.append(
            ("write", dict(values), reflects, appended, *([dict(due.keys)] if due.entries else []))
        )
        return True

    async def _log_start(self, tp: Any) -> int:
        self.log.append("log start")
        return self.log_start

    def run(self, *chunks: tuple[int, int]) -> None:
        """Run the runner over chunks given by their first and last offset, then end the stream."""
        refs = [self.tracker.fetched(TP0, self.tracker.epoch(TP0), *chunk) for chunk in chunks]
        stream = SimpleNamespace(noack=lambda: SimpleNamespace(events=lambda: self._events(refs)))
        asyncio.run(self.runner.run(stream))

    async def _events(self, refs: Sequence[Any]) -> AsyncIterator[Any]:
        for ref in refs:
            fetched = [
                SimpleNamespace(
                    topic="in",
                    partition=0,
                    offset=o,
                    timestamp=self.record_ms,
                    key=b"k%d" % o,
                    value=b"v",
                    headers=(),
                )
                for o in range(ref.first, ref.last + 1)
            ]

            def ack(ref: Any = ref) -> None:
                self.log.append("ack")
                self.tracker.done(ref)

            yield SimpleNamespace(value=Chunk(ref, fetched), ack=ack)

    @property
    def steps(self) -> list[str]:
        return [entry if isinstance(entry, str) else entry[0] for entry in self.log]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_the_order_is_process_deliver_write_ack(world: World) -> None:
    world.run((0, 4))

    assert world.steps == ["process", "deliver", "write", "ack"]
    assert world.tracker.committable(TP0) == 5


def test_changelog_records_go_to_the_chunks_own_partition_and_carry_its_last_offset(world: World) -> None:
    world.run((0, 4))

    (_, _, changelog) = world.log[1]
    assert changelog == [Outgoing("changelog", b"k", seal(4, b"v"), partition=0)]
    assert world.log[2] == ("write", {b"k": b"v"}, 4, Appended(1, 7, 7))


def test_a_deletion_is_a_tombstone_with_the_offset_in_a_header(world: World) -> None:
    world.process = lambda records, read: StageResult([], [Put("t", b"k", None)], [])

    world.run((0, 4))

    (_, _, (tombstone,)) = world.log[1]
    assert tombstone.value is None
    assert tombstone.headers[0][0] == OFFSET_HEADER


def test_of_several_puts_to_one_key_the_last_counts(world: World) -> None:
    world.process = lambda records, read: StageResult([], [Put("t", b"k", b"1"), Put("t", b"k", b"2")], [])

    world.run((0, 0))

    assert world.log[2][1] == {b"k": b"2"}


def test_a_failed_delivery_is_repeated_as_a_whole_before_anything_is_written(tmp_path: Path) -> None:
    world = World(tmp_path, [DeliveryFailed("broker away"), DeliveryFailed("broker away"), None])

    world.run((0, 4))

    assert world.steps == ["process", "deliver", "sleep", "deliver", "sleep", "deliver", "write", "ack"]
    assert world.log[1] == world.log[3] == world.log[5]
    assert world.runner.failing_since is None


def test_a_refused_delivery_gets_out_before_write_and_ack(tmp_path: Path) -> None:
    world = World(tmp_path, [DeliveryRejected("no such topic")])

    with pytest.raises(DeliveryRejected):
        world.run((0, 4))

    assert world.steps == ["process", "deliver"]


def test_a_chunk_whose_partition_went_while_brokers_were_away_is_left(tmp_path: Path) -> None:
    world = World(tmp_path, [DeliveryFailed("broker away")])
    world.on_sleep = lambda: world.tracker.forget([TP0])

    world.run((0, 4))

    assert world.steps == ["process", "deliver", "sleep"]
    assert world.runner.failing_since is None


def test_a_chunk_whose_partition_went_before_it_was_begun_is_not_processed(world: World) -> None:
    refs = world.tracker.fetched(TP0, 0, 0, 4)
    world.tracker.forget([TP0])

    asyncio.run(
        world.runner.run(SimpleNamespace(noack=lambda: SimpleNamespace(events=lambda: world._events([refs]))))
    )

    assert world.log == []


def test_a_chunk_in_hand_may_end_while_its_partition_is_going(world: World) -> None:
    world.on_deliver = lambda: world.tracker.moved(TP0)  # the revocation has begun

    world.run((0, 4))

    assert world.steps == ["process", "deliver", "write", "ack"]


def test_a_process_that_was_stopped_waits_for_a_heartbeat_and_then_sends_nothing(world: World) -> None:
    def sleep_through_the_session(records: Sequence[Record], read: StateReader) -> StageResult:
        world.now_s += 60.0
        return StageResult([Output("out", b"k", b"v")], [], [])

    world.process = sleep_through_the_session
    world.on_sleep = lambda: world.tracker.moved(TP0)  # the heartbeat said that the group went on

    world.run((0, 4))

    assert world.steps == ["process", "sleep"]


def test_a_process_that_was_stopped_after_delivery_does_not_write(world: World) -> None:
    def stopped() -> None:
        world.now_s += 60.0

    world.on_deliver = stopped
    world.on_sleep = lambda: world.tracker.moved(TP0)

    world.run((0, 4))

    assert world.steps == ["process", "deliver", "sleep"]


def test_poison_goes_to_the_dead_letters_and_the_rest_goes_on(world: World) -> None:
    def raising(records: Sequence[Record], read: StateReader) -> StageResult:
        if any(r.offset == 2 for r in records):
            raise ValueError("bad")
        return StageResult([Output("out", b"k", b"%d" % r.offset) for r in records], [], [])

    world.process = raising

    world.run((0, 4))

    (sent,) = [entry[1] for entry in world.log if entry[0] == "deliver"]
    assert [o.value.partition(b" at ")[0] for o in sent] == [b"0", b"1", b"3", b"4", b"ValueError"]
    assert world.steps[-1] == "ack"


def test_what_a_stage_calls_poison_goes_to_the_dead_letters_too(world: World) -> None:
    world.process = lambda records, read: StageResult([], [], [Poison(records[0], "undecodable", "s")])

    world.run((0, 0))

    assert [o.topic for o in world.log[1][1]] == ["dead"]


def test_a_closed_table_never_makes_poison(world: World) -> None:
    world.owned = False
    world.process = lambda records, read: StageResult([], [Put("t", b"k", read("t", [b"k"])[0])], [])

    world.run((0, 4))

    assert world.steps == ["process"]


def test_a_stage_reads_what_is_stored(world: World) -> None:
    world.stored[b"k"] = b"before"
    seen: list[bytes | None] = []

    def reading(records: Sequence[Record], read: StateReader) -> StageResult:
        seen.extend(read("t", [b"k", b"x"]))
        return StageResult([], [], [])

    world.process = reading
    world.run((0, 0))

    assert seen == [b"before", None]


def test_expired_keys_are_deleted_with_the_next_chunk_in_its_delivery_and_its_write(world: World) -> None:
    world.expired_ms, world.record_ms = {b"old": 500, b"k": 500, b"young": 2_500}, 3_000
    world.run((0, 4))

    assert world.log[2] == ("due", 2_000, 100, 10)
    (_, _, changelog) = world.log[3]
    tombstone = Outgoing("changelog", b"old", None, 0, ((OFFSET_HEADER, offset_bytes(3)),))
    assert changelog == [Outgoing("changelog", b"k", seal(4, b"v"), partition=0), tombstone]
    assert world.log[4] == ("write", {b"k": b"v"}, 4, Appended(2, 7, 8), {b"old": 3})
    assert world.steps == ["process", "log start", "due", "deliver", "write", "ack"]


def test_the_time_of_expiry_is_that_of_the_records_but_never_ahead_of_the_clock(world: World) -> None:
    """A worker that is behind keeps what it still needs; an edge whose clock is ahead expires nothing."""
    world.expired_ms, world.record_ms, world.now_ms = {b"old": 1_500}, 2_000, 10**9
    world.run((0, 4))
    assert "due" not in world.steps
    world.record_ms, world.now_ms = 10**9, 2_000
    world.run((5, 9))
    assert "due" not in world.steps


def test_keys_stay_while_the_source_topic_has_their_records_and_cost_nothing_meanwhile(world: World) -> None:
    world.expired_ms, world.record_ms, world.log_start = {b"old": 500}, 3_000, 3
    world.run((0, 4), (5, 9), (10, 14))
    assert [step for step in world.steps if step in ("log start", "due")] == ["log start", "due"]

    world.log_start, world.now_s = 4, 61.0
    world.run((15, 19))
    assert ("write", {b"k": b"v"}, 19, Appended(2, 7, 8), {b"old": 3}) in world.log


def test_an_unknown_log_start_expires_nothing_and_stops_nothing(world: World) -> None:
    async def unknown(tp: Any) -> int:
        raise TimeoutError

    world.runner._log_start = unknown
    world.expired_ms, world.record_ms = {b"old": 500}, 3_000
    world.run((0, 4))
    assert world.steps == ["process", "due", "deliver", "write", "ack"]


def test_entries_of_keys_that_were_written_again_are_dropped_without_a_record(world: World) -> None:
    world.process = lambda records, read: StageResult([], [], [])
    world.expired_ms, world.record_ms = {b"old": 500}, 3_000
    world.due = lambda *_: Due({}, [b"entry"], held=False)  # type: ignore[method-assign]
    world.run((0, 4))
    assert ("write", {}, 4, None, {}) in world.log
