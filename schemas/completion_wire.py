"""Writes and reads a completion's Avro body directly: about a third of fastavro's time.

Every completion is written once and read by the stream and by the sink, each with some 25 answers: texts
that repeat from person to person. Their bytes are remembered, which a general library cannot do.

fastavro stays the reference. What is not plain here (a value of another type, a number that does not fit, a
damaged record) raises NotPlain or some other exception; `schemas.codec` then takes fastavro's way, which
decides. Tests compare the two on arbitrary completions and arbitrary bytes.
"""

from __future__ import annotations

import struct
from typing import Any

from schemas.records import Answer, Completion, Consent, Personal

# The order in which the fields of completion.avsc are written; with others this module is not used.
FIELDS = (
    "completion_id",
    "tenant_id",
    "quiz_id",
    "quiz_version",
    "contact_id",
    "day",
    "submitted_at",
    "accepted_at",
    "answers",
    "score",
    "region",
    "clock_ahead_ms",
    "consent",
    "personal",
)

REMEMBERED_MAX = 16_384  # of each kind; all are forgotten when it is reached
REMEMBERED_BYTES_MAX = 63  # of one text: its length is then one byte

_DOUBLE = struct.Struct("<d")
_INT32 = 2**31
_INT64 = 2**63
_VARINT_BYTES_MAX = 10  # of 64 bits

# Tags of the unions: zigzag of the branch's number.
_NULL, _VALUE = 0, 2
_TEXT, _LONG, _FLOAT, _BOOL, _CHOICES = 0, 2, 4, 6, 8


class NotPlain(ValueError):
    """Left to fastavro. It holds no value."""


def _varint(number: int) -> bytes:
    """Avro's zigzag notation of a 64-bit integer."""
    left = (number << 1) ^ (number >> 63)
    out = bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    out.append(left)
    return bytes(out)


_LENGTHS = tuple(_varint(length) for length in range(REMEMBERED_BYTES_MAX * 64))
_SMALL = {number: bytes((_LONG,)) + _varint(number) for number in range(-1024, 1024)}

_written_questions: dict[str, bytes] = {}
_written_texts: dict[str, bytes] = {}
_read_questions: dict[bytes, str] = {}
_read_texts: dict[bytes, str] = {}


def write(header: bytes, event: Completion) -> bytes:
    """Return `header` and the body. Any exception: fastavro decides."""
    answers = event.answers
    parts = [
        header,
        _text(event.completion_id),
        _text(event.tenant_id),
        _text(event.quiz_id),
        _integer(event.quiz_version, _INT32),
        _text(event.contact_id),
        _integer(event.day, _INT32),
        _integer(event.submitted_at, _INT64),
        _integer(event.accepted_at, _INT64),
    ]
    add = parts.append
    if answers:
        add(_varint(len(answers)))
        question_of, text_of, small = _written_questions.get, _written_texts.get, _SMALL.get
        for question, answer in answers.items():
            add(question_of(question) or _write_question(question))
            kind = type(answer)
            if kind is str:
                add(text_of(answer) or _write_answer(answer))  # type: ignore[arg-type]
            elif kind is int:
                add(small(answer) or b"\2" + _integer(answer, _INT64))  # type: ignore[arg-type]
            else:
                add(_write_rare(answer))
    consent, personal = event.consent, event.personal
    parts += (
        b"\0",  # the end of the answers
        b"\0" if event.score is None else b"\2" + _double(event.score),
        _text(event.region),
        _integer(event.clock_ahead_ms, _INT64),
        b"\0" if consent is None else b"\2" + _bool(consent.granted) + _text(consent.text),
        _optional(personal.phone),
        _optional(personal.name),
        _optional(personal.email),
    )
    return b"".join(parts)


def _text(value: str) -> bytes:
    encoded = value.encode()
    length = len(encoded)
    return (_LENGTHS[length] if length < len(_LENGTHS) else _varint(length)) + encoded


def _optional(value: str | None) -> bytes:
    return b"\0" if value is None else b"\2" + _text(value)


def _integer(value: int, bound: int) -> bytes:
    if type(value) is not int or not -bound <= value < bound:
        raise NotPlain
    return _varint(value)


def _double(value: float) -> bytes:
    if type(value) is not float:
        raise NotPlain
    return _DOUBLE.pack(value)


def _bool(value: bool) -> bytes:
    if type(value) is not bool:
        raise NotPlain
    return b"\1" if value else b"\0"


def _write_question(question: str) -> bytes:
    written = _text(question)
    _remember(_written_questions, question, written, len(written))
    return written


def _write_answer(answer: str) -> bytes:
    written = b"\0" + _text(answer)
    _remember(_written_texts, answer, written, len(written))
    return written


def _write_rare(answer: Answer) -> bytes:
    kind = type(answer)
    if kind is bool:
        return b"\6\1" if answer else b"\6\0"
    if kind is float:
        return b"\4" + _DOUBLE.pack(answer)
    if kind is not list:
        raise NotPlain
    choices: list[str] = answer  # type: ignore[assignment]
    if not choices:
        return b"\10\0"
    return b"".join((b"\10", _varint(len(choices)), *map(_text, choices), b"\0"))


def _remember(memory: dict[Any, Any], key: object, value: object, size_bytes: int) -> None:
    if size_bytes <= REMEMBERED_BYTES_MAX:
        if len(memory) >= REMEMBERED_MAX:
            memory.clear()
        memory[key] = value


def read(body: bytes, at: int) -> Completion:
    """Return the completion whose fields begin at `at` and end with `body`. Any exception: fastavro decides.

    A length beyond the end gives a short slice; the position is then beyond the end too, and the next access,
    or the comparison at last, finds it.
    """
    completion_id, at = _read_text(body, at)
    tenant_id, at = _read_text(body, at)
    quiz_id, at = _read_text(body, at)
    quiz_version, at = _read_integer(body, at, _INT32)
    contact_id, at = _read_text(body, at)
    day, at = _read_integer(body, at, _INT32)
    submitted_at, at = _read_integer(body, at, _INT64)
    accepted_at, at = _read_integer(body, at, _INT64)
    answers, at = _read_answers(body, at)
    score: float | None = None
    if _is_given(body[at]):
        score = _DOUBLE.unpack_from(body, at + 1)[0]
        at += _DOUBLE.size
    region, at = _read_text(body, at + 1)
    clock_ahead_ms, at = _read_integer(body, at, _INT64)
    consent: Consent | None = None
    at += 1
    if _is_given(body[at - 1]):
        granted = _read_bool(body[at])
        text, at = _read_text(body, at + 1)
        consent = Consent(granted, text)
    phone, at = _read_optional(body, at)
    name, at = _read_optional(body, at)
    email, at = _read_optional(body, at)
    if at != len(body):
        raise NotPlain
    return Completion(
        completion_id,
        tenant_id,
        quiz_id,
        quiz_version,
        contact_id,
        day,
        submitted_at,
        accepted_at,
        answers,
        Personal(phone, name, email),
        score,
        region,
        clock_ahead_ms,
        consent,
    )


def _read_answers(body: bytes, at: int) -> tuple[dict[str, Answer], int]:
    answers: dict[str, Answer] = {}
    count, at = _read_varint(body, at)
    if count < 0:
        raise NotPlain  # a block that states its size: none of ours
    known_question, known_text = _read_questions.get, _read_texts.get
    while count:
        for _ in range(count):
            length = body[at]
            if length < 128:
                if length & 1:
                    raise NotPlain  # a negative length
                begin = at + 1
                at = begin + (length >> 1)
                raw = body[begin:at]
                question = known_question(raw)
                if question is None:
                    question = raw.decode()
                    _remember(_read_questions, raw, question, len(raw))
            else:
                question, at = _read_text(body, at)
            tag = body[at]
            at += 1
            length = body[at]
            if tag == _TEXT and length < 128:
                if length & 1:
                    raise NotPlain
                begin = at + 1
                at = begin + (length >> 1)
                raw = body[begin:at]
                text = known_text(raw)
                if text is None:
                    text = raw.decode()
                    _remember(_read_texts, raw, text, len(raw))
                answers[question] = text
            elif tag == _LONG and length < 128:
                answers[question] = (length >> 1) ^ -(length & 1)
                at += 1
            elif tag == _LONG:
                answers[question], at = _read_integer(body, at, _INT64)
            else:
                answers[question], at = _read_rare(tag, body, at)
        count, at = _read_varint(body, at)
        if count < 0:
            raise NotPlain
    return answers, at


def _read_rare(tag: int, body: bytes, at: int) -> tuple[Answer, int]:
    if tag == _TEXT:
        return _read_text(body, at)
    if tag == _FLOAT:
        return _DOUBLE.unpack_from(body, at)[0], at + _DOUBLE.size
    if tag == _BOOL:
        return _read_bool(body[at]), at + 1
    if tag != _CHOICES:
        raise NotPlain
    choices: list[str] = []
    while True:
        count, at = _read_varint(body, at)
        if count < 0:
            raise NotPlain
        if not count:
            return choices, at
        for _ in range(count):
            choice, at = _read_text(body, at)
            choices.append(choice)


def _read_varint(body: bytes, at: int) -> tuple[int, int]:
    byte = body[at]
    number = byte & 0x7F
    shift = 7
    begin = at
    at += 1
    while byte > 0x7F:
        byte = body[at]
        number |= (byte & 0x7F) << shift
        shift += 7
        at += 1
    if at - begin >= _VARINT_BYTES_MAX and (at - begin > _VARINT_BYTES_MAX or number >> 64):
        raise NotPlain
    return (number >> 1) ^ -(number & 1), at


def _read_integer(body: bytes, at: int, bound: int) -> tuple[int, int]:
    number, at = _read_varint(body, at)
    if not -bound <= number < bound:
        raise NotPlain
    return number, at


def _read_text(body: bytes, at: int) -> tuple[str, int]:
    length = body[at]
    if length < 128 and not length & 1:
        at += 1
        end = at + (length >> 1)
        return body[at:end].decode(), end
    length, at = _read_varint(body, at)
    if length < 0:
        raise NotPlain
    end = at + length
    return body[at:end].decode(), end


def _read_optional(body: bytes, at: int) -> tuple[str | None, int]:
    tag = body[at]
    if tag == _VALUE:
        return _read_text(body, at + 1)
    if tag != _NULL:
        raise NotPlain
    return None, at + 1


def _is_given(tag: int) -> bool:
    if tag not in (_NULL, _VALUE):
        raise NotPlain
    return tag == _VALUE


def _read_bool(byte: int) -> bool:
    if byte > 1:
        raise NotPlain
    return byte == 1
