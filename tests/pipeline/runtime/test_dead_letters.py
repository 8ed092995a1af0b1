"""A dead letter holds its record whole, whatever it is, and is one letter however often it is written."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pipeline.runtime.dead_letters import REASON_CHARS_MAX, dead_letter, dead_letter_output
from pipeline.runtime.record import Record
from pipeline.topology.loader import load
from schemas.codec import codec

TOPIC = load(Path(__file__).resolve().parents[3] / "topology.yaml").topic("dead_letters")


def record(key: bytes | None = b"k", value: bytes | None = b"\xff", offset: int = 7) -> Record:
    return Record("quiz.completions.v1", 3, offset, 1_728_000_000_000, key, value)


@given(st.none() | st.binary(max_size=50), st.none() | st.binary(max_size=50), st.text(max_size=50))
def test_any_record_and_any_reason_make_a_letter(key: bytes | None, value: bytes | None, reason: str) -> None:
    output = dead_letter_output(TOPIC, dead_letter(record(key, value), "match", reason, 1, now_ms=5))
    letter = codec("dead_letter").decode(output.value)
    assert (letter.personal.key, letter.personal.value) == (key, value)
    assert (output.topic, output.key) == (TOPIC.name, b"quiz.completions.v1|3")
    assert letter.reason == reason


def test_a_record_given_up_twice_is_one_letter_and_its_neighbour_is_another() -> None:
    first = dead_letter(record(), "match", "bad", 1, now_ms=5)
    again = dead_letter(record(), "match", "worse", 3, now_ms=9)
    assert first.dead_letter_id == again.dead_letter_id
    assert first.dead_letter_id != dead_letter(record(offset=8), "match", "bad", 1, now_ms=5).dead_letter_id
    assert first.dead_letter_id != dead_letter(record(), "dedup", "bad", 1, now_ms=5).dead_letter_id


def test_a_reason_is_kept_short_and_writable() -> None:
    letter = dead_letter(record(), "match", "\udcff" + "x" * 5_000, 1, now_ms=5)
    assert letter.reason.startswith("\\udcffxxx")
    assert len(letter.reason) < REASON_CHARS_MAX + 10
    codec("dead_letter").encode(letter)
