"""Answers of a form without a script have the types that the script gives them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_api.http.problems import Rejection
from ingest_api.quiz_pages.form import _answers, _number


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7", 7),
        ("-3", -3),
        ("7.0", 7),
        ("7.5", 7.5),
        (".5", 0.5),
        ("1e3", 1000),
        ("9007199254740991", 9007199254740991),
        ("1e999", "1e999"),
        ("seven", "seven"),
        ("7,5", "7,5"),
        ("0x10", "0x10"),
        ("nan", "nan"),
        ("\u0667", "\u0667"),
    ],
)
def test_a_number_is_one_and_what_is_none_stays_a_text(text: str, expected: object) -> None:
    found = _number(text)
    assert (found, type(found)) == (expected, type(expected))


@given(st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_that_a_browser_writes_is_the_same_number(number: float) -> None:
    assert _number(json.dumps(number)) == number


@given(st.text(max_size=60))
def test_any_text_can_be_stored(text: str) -> None:
    json.dumps(_number(text), allow_nan=False)


def test_one_of_several_choices_is_a_list_as_with_the_script() -> None:
    fields = [("answer:a", "1"), ("several", "a"), ("answer:b", "1"), ("answer:c", "1"), ("answer:c", "2")]
    assert _answers(fields) == {"a": ["1"], "b": "1", "c": ["1", "2"]}


def test_the_first_missing_answer_is_named() -> None:
    with pytest.raises(Rejection) as rejected:
        _answers([("required", "b/1"), ("required", "a"), ("answer:a", "x"), ("answer:b/1", " ")])
    assert rejected.value.problem.pointer == "#/answers/b~11"
