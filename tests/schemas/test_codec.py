"""What is written is what is read, to the type; whatever else is read is refused by one error."""

from __future__ import annotations

import resource
from functools import cache
from typing import Any

import msgspec
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from schemas.catalogue import EVENT_TYPES
from schemas.codec import HEADER, Undecodable, Unencodable, codec
from schemas.records import Completion, DeliveryEvent, Personal
from tests.support.schema_events import answers, events

COMPLETION = Completion(
    completion_id="1c7d1d4e-0000-5000-8000-000000000000",
    tenant_id="acme",
    quiz_id="bfi",
    quiz_version=1,
    contact_id="c" * 32,
    day=20_000,
    submitted_at=1_728_000_000_000,
    accepted_at=1_728_000_000_100,
    answers={"A1": "2", "A2": True},
    personal=Personal(phone="+5511999999999", name="Maria"),
)


def zigzag(number: int) -> bytes:
    """Avro's encoding of a length."""
    left = ((number << 1) ^ (number >> 63)) & (2**64 - 1)
    out = bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    out.append(left)
    return bytes(out)


@pytest.mark.parametrize("event", EVENT_TYPES)
@given(data=st.data())
@settings(max_examples=60)
def test_every_event_comes_back_as_it_went(event: str, data: st.DataObject) -> None:
    sent = data.draw(events(EVENT_TYPES[event]))
    read = codec(event).decode(codec(event).encode(sent))
    assert read == sent
    assert msgspec.json.encode(read) == msgspec.json.encode(sent)  # 1, 1.0 and True are equal in Python


@given(answers)
def test_an_answer_keeps_its_type(answer: Any) -> None:
    sent = msgspec.structs.replace(COMPLETION, answers={"q": answer})
    read = codec("completion").decode(codec("completion").encode(sent)).answers["q"]
    assert (type(read), read) == (type(answer), answer)


def test_an_integer_in_a_fraction_field_comes_back_as_a_fraction() -> None:
    sent = msgspec.structs.replace(COMPLETION, score=12)
    read = codec("completion").decode(codec("completion").encode(sent)).score
    assert (type(read), read) == (float, 12.0)


@pytest.mark.parametrize(
    "change",
    [
        {"day": 3.5},
        {"day": True},
        {"day": 2**31},
        {"day": None},
        {"accepted_at": 2**63},
        {"answers": {"q": 2**63}},
        {"answers": {"q": [1]}},
        {"answers": {"q": None}},
        {"answers": {"q": "\ud800"}},
        {"answers": {1: "2"}},
        {"personal": None},
        {"tenant_id": b"acme"},
    ],
)
def test_what_the_schema_cannot_carry_is_refused_and_never_bent(change: dict[str, Any]) -> None:
    with pytest.raises(Unencodable):
        codec("completion").encode(msgspec.structs.replace(COMPLETION, **change))


def test_a_word_that_is_no_verdict_is_refused() -> None:
    outcome = EVENT_TYPES["outcome"]("i", "t", "q", "c", 0, 0, "maybe", 0, 0)
    with pytest.raises(Unencodable):
        codec("outcome").encode(outcome)


VALUE = codec("completion").encode(COMPLETION)
HEAD, BODY = VALUE[: HEADER.size], VALUE[HEADER.size :]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "no value"),
        (b"", "shorter than a header"),
        (VALUE[:4], "shorter than a header"),
        (b"\x01" + VALUE[1:], "first byte is 1, not 0"),
        (b"{" + VALUE[1:], "first byte is 123, not 0"),
        (HEADER.pack(0, 7) + BODY, "schema id 7 is not a version of completion"),
        (codec("token").encode(EVENT_TYPES["token"]("h", "t", 1)), "is not a version of completion"),
        (VALUE + b"\0", "bytes left over"),
        (HEAD + b"\x04\xff\xfe" + BODY, "text is not UTF-8"),
    ],
)
def test_what_is_no_completion_is_refused_with_its_reason(value: bytes | None, reason: str) -> None:
    with pytest.raises(Undecodable) as raised:
        codec("completion").decode(value)
    assert reason in raised.value.reason


def test_every_shortened_completion_is_refused() -> None:
    for length in range(len(VALUE)):
        with pytest.raises(Undecodable):
            codec("completion").decode(VALUE[:length])


@pytest.mark.parametrize("length", [2**31, 2**62, -1, -(2**63)])
@pytest.mark.parametrize("event", EVENT_TYPES)
def test_a_length_that_the_bytes_do_not_have_costs_nothing(event: str, length: int) -> None:
    """Put at every place of a record: a text's length, a list's or map's count, a union's branch."""
    sent = codec(event).encode(COMPLETION) if event == "completion" else _smallest(event)
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for place in range(HEADER.size, len(sent)):
        hostile = sent[:place] + zigzag(length) + sent[place + 1 :]
        try:
            codec(event).decode(hostile)
        except Undecodable:
            continue
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 100_000


@cache
def _smallest(event: str) -> bytes:
    """The first that is generated, which is the simplest already: to shrink it takes seconds of each type."""
    first = settings(max_examples=1, phases=[Phase.generate], database=None)
    smallest: bytes = codec(event).encode(find(events(EVENT_TYPES[event]), lambda _: True, settings=first))
    return smallest


@pytest.mark.parametrize("event", EVENT_TYPES)
@given(body=st.binary(max_size=300))
def test_any_bytes_are_an_event_or_undecodable(event: str, body: bytes) -> None:
    try:
        read = codec(event).decode(HEADER.pack(0, codec(event).schema_id) + body)
    except Undecodable:
        return
    assert isinstance(read, EVENT_TYPES[event])


@given(st.integers(0, len(VALUE) - 1), st.integers(0, 255))
def test_any_changed_byte_gives_an_event_or_undecodable(place: int, byte: int) -> None:
    try:
        codec("completion").decode(VALUE[:place] + bytes([byte]) + VALUE[place + 1 :])
    except Undecodable:
        return


def test_a_reason_shows_nothing_of_the_record() -> None:
    reasons = set()
    for place in range(HEADER.size, len(VALUE)):
        for byte in (0, 1, 2, 3, 0x7F, 0xFF):
            try:
                codec("completion").decode(VALUE[:place] + bytes([byte]) + VALUE[place + 1 :])
            except Undecodable as error:
                reasons.add(str(error))
    assert len(reasons) > 2
    assert not [reason for reason in reasons if "Maria" in reason or "99999" in reason or "bfi" in reason]


def test_nothing_is_an_event_by_another_name() -> None:
    with pytest.raises(KeyError, match="unknown event 'nothing'"):
        codec("nothing")


def test_the_codec_of_a_name_is_made_once() -> None:
    assert codec("delivery_event") is codec("delivery_event")
    sent = DeliveryEvent("d", "t", "c", "k", "i", 1, "sent", 1, provider_message_id="wamid.x")
    assert codec("delivery_event").decode(codec("delivery_event").encode(sent)) == sent
