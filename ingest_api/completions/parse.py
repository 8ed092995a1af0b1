"""Parses the body of a completion into a typed struct, in one pass.

Rules that types cannot express are checked afterwards, and only where the body can break them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ingest_api.http.json_errors import misshapen, not_json, require_each_key_once
from ingest_api.http.problems import UNSTORABLE_TEXT, pointer, rejection
from schemas.records import Answer

# Avro's long.
Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Choice = str | Int64 | float | bool
Given = Choice | list[Choice] | None

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

CONSENT_CHARS_MAX = 200  # of the id of a text: a version, a URL


class Consent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the person decided about messages, and which text was shown."""

    granted: bool
    text: Annotated[str, Meta(min_length=1, max_length=CONSENT_CHARS_MAX)]


class Contact(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    phone: str | UnsetType | None = UNSET
    name: str | UnsetType | None = UNSET
    email: str | UnsetType | None = UNSET
    consent: Consent | UnsetType | None = UNSET


class Submission(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body that a client sends. A null answer is an unanswered question; any other null means absent."""

    answers: dict[str, Given]
    completion_id: str | UnsetType | None = UNSET
    submitted_at: Annotated[datetime, Meta(tz=True)] | UnsetType | None = UNSET
    contact: Contact | UnsetType | None = UNSET
    score: float | UnsetType | None = UNSET

    @property
    def submitted_at_ms(self) -> int | None:
        at = self.submitted_at
        return (at - _EPOCH) // _MILLISECOND if isinstance(at, datetime) else None


Value = TypeVar("Value")


def given(value: Value | UnsetType | None) -> Value | None:
    """Return the value, or None if it is absent or null."""
    return None if isinstance(value, UnsetType) else value


_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(Submission)


def parse(body: bytes) -> Submission:
    """Decode and check the body.

    Raises Rejection: invalid-json, invalid-body, repeated-field or unstorable-text.
    """
    try:
        submission = _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise misshapen(str(error), partial(_located, body)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise not_json(body, error) from None
    # Only a backslash can escape a colon or write a NUL: without one, counting colons is enough.
    escaped = b"\\" in body
    if escaped or not _each_key_once(body, submission):
        require_each_key_once(body)
    if escaped and b"\\u0000" in body:
        _reject_nul(submission)
    return submission


def _each_key_once(body: bytes, submission: Submission) -> bool:
    """Return True if no key can be repeated: there are exactly as many colons as distinct keys.

    False means only that it is not certain; the caller then reads the body again.
    """
    contact = submission.contact
    keys = 1 + len(submission.answers)
    keys += submission.completion_id is not UNSET
    keys += submission.score is not UNSET
    keys += contact is not UNSET
    colons = keys
    if isinstance(contact, Contact):
        colons += (contact.phone is not UNSET) + (contact.name is not UNSET) + (contact.email is not UNSET)
        colons += (contact.consent is not UNSET) + 2 * isinstance(contact.consent, Consent)
    if submission.submitted_at is not UNSET:
        colons += 1
        if submission.submitted_at is not None:
            colons += 2  # at least, in its time of day
    return body.count(b":") == colons


def _reject_nul(submission: Submission) -> None:
    for path, text in _texts(submission):
        if "\0" in text:
            raise rejection(
                UNSTORABLE_TEXT, "a text contains U+0000, which cannot be stored", pointer=pointer(*path)
            )


def _texts(submission: Submission) -> Iterator[tuple[tuple[str, ...], str]]:
    for question, answer in submission.answers.items():
        yield ("answers",), question
        if isinstance(answer, str):
            yield ("answers", question), answer
        elif isinstance(answer, list):
            for index, choice in enumerate(answer):
                if isinstance(choice, str):
                    yield ("answers", question, str(index)), choice
    if isinstance(submission.completion_id, str):
        yield ("completion_id",), submission.completion_id
    if isinstance(submission.contact, Contact):
        for name in Contact.__struct_fields__:
            value = getattr(submission.contact, name)
            if isinstance(value, str):
                yield ("contact", name), value
            elif isinstance(value, Consent):
                yield ("contact", name, "text"), value.text


def _located(body: bytes, path: str, steps: list[str]) -> list[str]:
    if path.startswith(".answers[...]"):
        return [*steps[:1], *_misshapen_answer(body), *steps[1:]]
    return steps


def _misshapen_answer(body: bytes) -> list[str]:
    """Return the question whose answer has an unsupported type, which the decoder does not name; else []."""
    try:
        given = msgspec.json.decode(body)["answers"].items()
    except (ValueError, RecursionError):
        return []
    for question, answer in given:
        try:
            msgspec.convert(answer, Given)
        except msgspec.ValidationError:
            return [question]
    return []


def answered(answers: dict[str, Given]) -> dict[str, Answer]:
    """Return the answers without unanswered questions; the choices of one question are texts."""
    return {
        question: _texts_of(answer) if isinstance(answer, list) else answer
        for question, answer in answers.items()
        if answer is not None
    }


def _texts_of(choices: list[Choice]) -> list[str]:
    """Conditions and scores read `"1"` and `1` as the same value."""
    return [choice if isinstance(choice, str) else _encode(choice).decode() for choice in choices]
