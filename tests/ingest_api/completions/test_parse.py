from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_api.completions.parse import Contact, Submission, parse
from ingest_api.http.problems import Rejection

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
ANSWERS = st.dictionaries(
    TEXT,
    TEXT
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.booleans()
    | st.none()
    | st.lists(TEXT | st.integers(-(2**63), 2**63 - 1) | st.booleans(), max_size=3),
    max_size=8,
)
CONSENTS = st.fixed_dictionaries({"granted": st.booleans(), "text": TEXT.filter(bool)})
BODIES = st.fixed_dictionaries(
    {"answers": ANSWERS},
    optional={
        "completion_id": TEXT | st.none(),
        "contact": st.none()
        | st.fixed_dictionaries(
            {},
            optional={
                "phone": TEXT,
                "name": TEXT,
                "email": TEXT | st.none(),
                "consent": st.none()
                | st.fixed_dictionaries({"granted": st.booleans(), "text": TEXT.filter(bool)}),
            },
        ),
        "score": st.none() | st.integers(0, 100),
        "submitted_at": st.sampled_from(
            [None, "2026-01-01T10:00:00Z", "2026-01-01T10:00:00+03:00", "2026-01-01T10:00:00.5-03:00"]
        ),
    },
)


def rejected(body: bytes) -> tuple[str, str | None]:
    with pytest.raises(Rejection) as raised:
        parse(body)
    problem = raised.value.problem
    return problem.kind.slug, problem.pointer


@given(BODIES, st.booleans(), st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : ")]))
def test_whatever_a_client_may_send_arrives_as_sent(
    content: dict[str, Any], ascii_only: bool, separators: tuple[str, str]
) -> None:
    submission = parse(json.dumps(content, ensure_ascii=ascii_only, separators=separators).encode())
    assert submission.answers == content["answers"]
    for name in ("completion_id", "score"):
        if name in content:
            assert getattr(submission, name) == content[name]
    if content.get("contact"):
        assert isinstance(submission.contact, Contact)
        assert msgspec.to_builtins(submission.contact) == content["contact"]


@given(BODIES.filter(lambda content: content["answers"]), st.booleans(), st.data())
def test_a_question_answered_twice_is_rejected(
    content: dict[str, Any], ascii_only: bool, data: st.DataObject
) -> None:
    question = data.draw(st.sampled_from(sorted(content["answers"])))
    body = json.dumps(content, ensure_ascii=ascii_only)
    key = json.dumps(question, ensure_ascii=ascii_only)
    twice = body.replace('"answers": {', f'"answers": {{{key}: 1, ', 1)
    assert rejected(twice.encode())[0] == "repeated-field"


@given(st.binary(max_size=200) | TEXT.map(str.encode) | st.from_regex(rb'\{"answers":.{0,40}\}'))
def test_any_bytes_are_parsed_or_rejected_and_nothing_else(body: bytes) -> None:
    try:
        outcome: Submission | Rejection = parse(body)
    except Rejection as rejection:
        outcome = rejection
    assert isinstance(outcome, Submission) or outcome.problem.reply().status in (400, 422)


@pytest.mark.parametrize(
    ("body", "slug", "pointer"),
    [
        (b"", "invalid-json", None),
        (b"{", "invalid-json", None),
        (b'{"answers":{}} x', "invalid-json", None),
        (b'\xef\xbb\xbf{"answers":{}}', "invalid-json", None),
        (b'{"answers":{"a":NaN}}', "invalid-json", None),
        (b'{"answers":{"a":"\xff"}}', "invalid-json", None),
        (b'{"answers":{"a":"\xed\xa0\x80"}}', "invalid-json", None),
        (b'{"answers":{"a":"\\ud800 and no more"}}', "invalid-json", None),
        (b'{"answers":{"a":"\x01"}}', "invalid-json", None),
        (b"[]", "invalid-body", "#"),
        (b"{}", "invalid-body", "#"),
        (b"[" * 60_000, "invalid-body", "#"),
        (b'{"answers":' + b"[" * 60_000, "invalid-body", "#/answers"),
        (b'{"answers":{},"extra":1}', "invalid-body", "#"),
        (b'{"answers":{},"contact":{"fone":"1"}}', "invalid-body", "#/contact"),
        (b'{"answers":{},"contact":{"phone":5547989211984}}', "invalid-body", "#/contact/phone"),
        (b'{"answers":{},"score":"4"}', "invalid-body", "#/score"),
        (b'{"answers":{},"score":1e999}', "invalid-body", "#/score"),
        (b'{"answers":{"ok":1,"q 1/2":{}}}', "invalid-body", "#/answers/q%201~12"),
        (b'{"answers":{"a":[{}]}}', "invalid-body", "#/answers/a/0"),
        (b'{"answers":{"a":9223372036854775808}}', "invalid-body", "#/answers/a"),
        (b'{"answers":{"a":' + b"9" * 5000 + b"}}", "invalid-body", "#/answers"),
        (b'{"answers":{},"submitted_at":"2026-01-01"}', "invalid-body", "#/submitted_at"),
        (b'{"answers":{},"submitted_at":"2026-01-01T00:00:00"}', "invalid-body", "#/submitted_at"),
        (b'{"answers":{},"submitted_at":1767225600}', "invalid-body", "#/submitted_at"),
        (b'{"answers":{},"answers":{}}', "repeated-field", None),
        (b'{"answers":{},"contact":{"name":"a:b","name":"c"}}', "repeated-field", None),
        (b'{"answers":{"a":"\\u0000"}}', "unstorable-text", "#/answers/a"),
        (b'{"answers":{"a":["x","\\u0000"]}}', "unstorable-text", "#/answers/a/1"),
        (b'{"answers":{"\\u0000":1}}', "unstorable-text", "#/answers"),
        (b'{"answers":{},"contact":{"name":"a\\u0000"}}', "unstorable-text", "#/contact/name"),
        (b'{"answers":{},"completion_id":"\\u0000"}', "unstorable-text", "#/completion_id"),
    ],
)
def test_what_is_rejected_is_rejected_by_name_and_place(body: bytes, slug: str, pointer: str | None) -> None:
    assert rejected(body) == (slug, pointer)


def test_an_escaped_backslash_before_u0000_is_text() -> None:
    assert parse(b'{"answers":{"a":"\\\\u0000"}}').answers == {"a": "\\u0000"}


def test_a_rejection_shows_little_of_what_was_sent() -> None:
    with pytest.raises(Rejection) as raised:
        parse(b'{"answers":{},"' + b"x" * 10_000 + b'":1}')
    assert len(raised.value.problem.detail) < 200
