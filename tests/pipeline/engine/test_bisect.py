"""One bad record costs that record, and nothing else."""

import re
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.bisect import StateUnreadable, process
from pipeline.runtime.record import Output, Record
from pipeline.stages.contract import Put, StageResult, StateReader

OUTPUT_BYTES_MAX = 100


def record(offset: int) -> Record:
    return Record("t", 0, offset, 0, b"k%d" % (offset % 3), b"v")


class Counter:
    """Counts per key in its table, and raises for some offsets."""

    name = "counter"
    tables: tuple[str, ...] = ("counts",)

    def __init__(self, bad: set[int], value: Callable[[int], bytes] = lambda offset: b"%d" % offset) -> None:
        self.bad = bad
        self.calls = 0
        self._value = value

    def process(self, records: Sequence[Record], read: StateReader) -> StageResult:
        self.calls += 1
        keys = [*dict.fromkeys(r.key for r in records if r.key is not None)]
        counts = dict(zip(keys, read("counts", keys), strict=True))
        outputs = []
        for r in records:
            if r.offset in self.bad:
                raise ValueError(f"bad {r.offset}")
            assert r.key is not None
            counts[r.key] = b"%d" % (int(counts[r.key] or b"0") + 1)
            outputs.append(Output("out", r.key, self._value(r.offset)))
        return StageResult(outputs, [Put("counts", key, count) for key, count in counts.items()], [])


def empty(table: str, keys: list[bytes]) -> list[bytes | None]:
    return [None] * len(keys)


@given(st.integers(1, 40), st.sets(st.integers(0, 39)))
def test_the_good_records_give_what_they_give_without_the_bad_ones(count: int, bad: set[int]) -> None:
    records = [record(offset) for offset in range(count)]
    good = [r for r in records if r.offset not in bad]

    result = process(Counter(bad), [records], empty, OUTPUT_BYTES_MAX)
    expected = process(Counter(set()), [good], empty, OUTPUT_BYTES_MAX)

    assert result.outputs == expected.outputs
    assert {p.key: p.value for p in result.puts} == {p.key: p.value for p in expected.puts}
    assert [p.record.offset for p in result.poison] == sorted(bad & set(range(count)))


def test_poison_says_what_was_raised() -> None:
    (poison,) = process(Counter({1}), [[record(0), record(1)]], empty, OUTPUT_BYTES_MAX).poison

    assert re.fullmatch(r"ValueError at test_bisect\.py:\d+", poison.reason)  # its message may quote a value
    assert poison.stage == "counter"


def test_a_chunk_without_bad_records_is_one_call() -> None:
    stage = Counter(set())

    process(stage, [[record(offset) for offset in range(100)]], empty, OUTPUT_BYTES_MAX)

    assert stage.calls == 1


def test_an_output_that_no_broker_takes_makes_its_record_poison() -> None:
    stage = Counter(set(), value=lambda offset: b"x" * (200 if offset == 2 else 1))

    result = process(stage, [[record(offset) for offset in range(5)]], empty, OUTPUT_BYTES_MAX)

    assert [p.record.offset for p in result.poison] == [2]
    assert len(result.outputs) == 4


def test_state_that_cannot_be_read_says_nothing_of_the_records() -> None:
    def broken(table: str, keys: list[bytes]) -> list[bytes | None]:
        raise OSError("disk")

    with pytest.raises(StateUnreadable) as raised:
        process(Counter(set()), [[record(0), record(1)]], broken, OUTPUT_BYTES_MAX)
    assert isinstance(raised.value.__cause__, OSError)


def test_a_later_unit_sees_what_an_earlier_one_put() -> None:
    result = process(Counter(set()), [[record(0)], [record(3)]], empty, OUTPUT_BYTES_MAX)

    assert result.puts[-1] == Put("counts", b"k0", b"2")
