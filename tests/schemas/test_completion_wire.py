"""The direct way and fastavro's are the same: each byte written, each value read, each refusal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import completion_wire
from schemas.codec import HEADER, Undecodable, Unencodable, codec
from schemas.records import Completion
from tests.schemas.test_codec import COMPLETION, zigzag
from tests.support.schema_events import events, int64s, texts

CODEC = codec("completion")
HEAD = HEADER.pack(0, CODEC.schema_id)

repeated = st.sampled_from(["1", "2", "sim", "não", "x" * 62, "x" * 63, "é" * 32, "x" * 200])
like_people = st.builds(
    lambda base, given: msgspec.structs.replace(base, answers=given),
    events(Completion),
    st.dictionaries(repeated, st.one_of(repeated, int64s, st.integers(-1100, 1100)), max_size=30),
)
completions = st.one_of(events(Completion), like_people)


def outcome(call: Callable[[], Any]) -> Any:
    try:
        value = call()
    except (Undecodable, Unencodable) as error:
        return type(error), str(error)
    return value if isinstance(value, bytes) else msgspec.json.encode(value)  # 1, 1.0 and True differ in JSON


@given(completions)
@settings(max_examples=300)
def test_each_completion_is_written_and_read_directly_as_fastavro_does(event: Completion) -> None:
    written = CODEC.encode_by_schema(event)
    assert completion_wire.write(HEAD, event) == written
    read = completion_wire.read(written, HEADER.size)
    assert msgspec.json.encode(read) == msgspec.json.encode(event)


@given(st.binary(max_size=120))
def test_any_bytes_are_read_or_refused_as_fastavro_does(body: bytes) -> None:
    value = HEAD + body
    assert outcome(lambda: CODEC.decode(value)) == outcome(
        lambda: CODEC.decode_by_schema(CODEC.schema_id, value)
    )


@given(completions, st.data())
@settings(max_examples=400)
def test_a_damaged_completion_is_read_or_refused_as_fastavro_does(
    event: Completion, data: st.DataObject
) -> None:
    value = CODEC.encode(event)
    place = data.draw(st.integers(HEADER.size, len(value) - 1))
    damage = data.draw(
        st.one_of(st.binary(max_size=3), st.sampled_from([2**31, 2**62, -1, -(2**63)]).map(zigzag))
    )
    left_out = data.draw(st.integers(0, 3))
    damaged = value[:place] + damage + value[place + left_out :]
    assert outcome(lambda: CODEC.decode(damaged)) == outcome(
        lambda: CODEC.decode_by_schema(CODEC.schema_id, damaged)
    )


def test_a_block_that_states_its_size_is_read() -> None:
    """Other writers of Avro may use it; the direct way leaves it to fastavro."""
    pair = zigzag(2) + b"A1" + zigzag(0) + zigzag(1) + b"2"
    empty = msgspec.structs.replace(COMPLETION, answers={})
    plain, one = CODEC.encode(empty), CODEC.encode(msgspec.structs.replace(COMPLETION, answers={"A1": "2"}))
    place = next(at for at, (a, b) in enumerate(zip(plain, one, strict=False)) if a != b)
    sized = plain[:place] + zigzag(-1) + zigzag(len(pair)) + pair + plain[place:]
    with pytest.raises(completion_wire.NotPlain):
        completion_wire.read(sized, HEADER.size)
    assert CODEC.decode(sized).answers == {"A1": "2"}


@given(st.lists(texts, min_size=1, max_size=50))
def test_what_is_remembered_is_bounded(words: list[str]) -> None:
    for word in words:
        event = msgspec.structs.replace(COMPLETION, answers={word: word * 9})
        assert completion_wire.read(completion_wire.write(HEAD, event), HEADER.size) == event
    for memory in (completion_wire._written_questions, completion_wire._read_texts):
        assert len(memory) <= completion_wire.REMEMBERED_MAX
        assert all(len(key) <= completion_wire.REMEMBERED_BYTES_MAX for key in memory)


def test_at_its_bound_all_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion_wire, "REMEMBERED_MAX", 5)
    completion_wire._written_questions.clear()  # of other tests
    for number in range(20):
        event = msgspec.structs.replace(COMPLETION, answers={f"q{number}": f"a{number}"})
        assert completion_wire.read(completion_wire.write(HEAD, event), HEADER.size) == event
        assert len(completion_wire._written_questions) <= 5


def test_the_fields_are_those_of_the_schema() -> None:
    """A change of completion.avsc needs one of `completion_wire`; until then fastavro does all the work."""
    assert CODEC.is_direct
