"""What campaign conditions mean, operator by operator."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.campaigns.conditions import Subject, canonical, compile_condition, problems
from schemas.records import Answer, Condition, Op
from tests.support.stage_events import completion


def holds(
    field: str, op: Op, *values: str | float | bool, score: float | None = None, **answers: Answer
) -> bool:
    subject = Subject(completion(answers=answers, score=score))
    return compile_condition(Condition(field, op, list(values))).holds(subject)


@pytest.mark.parametrize("answer", ["8", 8, 8.0, " 8 ", "8.0", "+8", "8e0", "08"])
@pytest.mark.parametrize("value", ["8", 8.0, "8.00"])
def test_numbers_are_one_value_however_they_travel(answer: Answer, value: str | float) -> None:
    assert holds("answers.q", "eq", value, q=answer)
    assert holds("answers.q", "one_of", "x", value, q=answer)
    assert holds("answers.q", "gte", value, q=answer)
    assert holds("answers.q", "lte", value, q=answer)
    assert not holds("answers.q", "ne", value, q=answer)
    assert not holds("answers.q", "gt", value, q=answer)


def test_long_whole_numbers_are_exact() -> None:
    assert not holds("answers.q", "eq", "12345678901234567", q="12345678901234568")
    assert holds("answers.q", "eq", "12345678901234567", q=12345678901234567)


@pytest.mark.parametrize("text", ["nan", "inf", "1_000", "0x10", "1e999", "٣", "", "9" * 65, "1,5"])
def test_what_is_no_plain_number_is_text(text: str) -> None:
    assert canonical(text) == text
    assert holds("answers.q", "eq", text, q=text)
    assert not holds("answers.q", "gte", 0.0, q=text)


def test_text_is_compared_exactly() -> None:
    assert not holds("answers.q", "eq", "Sim", q="sim")
    assert not holds("answers.q", "eq", "sim", q="sim ")


def test_booleans_are_their_names_and_never_numbers() -> None:
    assert holds("answers.q", "eq", True, q=True)
    assert holds("answers.q", "eq", "true", q=True)
    assert holds("answers.q", "eq", True, q="true")
    assert not holds("answers.q", "eq", 1.0, q=True)
    assert not holds("answers.q", "gte", 0.0, q=True)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_nan_and_infinities_equal_nothing_and_stand_in_no_order(number: float) -> None:
    for op in ("eq", "one_of", "lt", "lte", "gt", "gte"):
        assert not holds("score", op, number, score=number)
        assert not holds("score", op, 0.0, score=number)
        assert not holds("score", op, number, score=0.0)
    assert holds("score", "exists", score=number)
    assert holds("score", "ne", 5.0, score=number)


@pytest.mark.parametrize("op", ["eq", "ne", "lt", "lte", "gt", "gte", "one_of", "exists"])
def test_a_missing_value_makes_everything_false_but_absent(op: Op) -> None:
    values = () if op == "exists" else ("1",)
    assert not holds("answers.other", op, *values, q="1")
    assert not holds("score", op, *values)
    assert holds("answers.other", "absent", q="1")
    assert not holds("answers.q", "absent", q="1")


def test_several_choices_equal_each_of_them_and_have_no_order() -> None:
    assert holds("answers.q", "eq", "b", q=["a", "b"])
    assert holds("answers.q", "one_of", "x", "a", q=["a", "b"])
    assert not holds("answers.q", "ne", "b", q=["a", "b"])
    assert holds("answers.q", "ne", "c", q=["a", "b"])
    assert not holds("answers.q", "gte", 1.0, q=["1", "2"])


def test_answered_counts_answers() -> None:
    assert holds("answered", "eq", 2.0, a="x", b="y")
    assert not holds("answered", "gt", 2.0, a="x", b="y")


@pytest.mark.parametrize(
    "condition",
    [
        Condition("score", "gte", []),
        Condition("score", "gte", ["a lot"]),
        Condition("score", "gte", [1.0, 2.0]),
        Condition("score", "eq", []),
        Condition("score", "ne", []),
        Condition("score", "one_of", []),
        Condition("score", "eq", [1.0, 5.0]),
        Condition("score", "ne", [math.nan]),
        Condition("phone", "absent", []),
        Condition("phone", "ne", ["x"]),
        Condition("answers.q", "exists", ["x"]),
    ],
)
def test_a_condition_that_cannot_be_judged_is_refused(condition: Condition) -> None:
    found = problems([condition], frozenset({"q"}))
    assert len(found) == 1
    assert found[0].startswith("condition 1 (")
    if condition.op != "exists":
        subject = Subject(completion(score=5.0, answers={"q": "1"}))
        assert not compile_condition(condition).holds(subject)


def test_sound_conditions_have_no_problems_and_unknown_questions_have() -> None:
    sound = [Condition("score", "gte", ["8"]), Condition("answers.q", "one_of", ["a", 2.0, True])]
    assert problems(sound, frozenset({"q"})) == []
    assert problems(sound) == []
    assert problems(sound, frozenset({"other"})) == ["condition 2 (answers.q one_of): no such question"]


scalars = st.one_of(st.text(max_size=6), st.integers(), st.floats(), st.booleans())


@given(scalars, scalars)
def test_eq_and_ne_are_opposites_and_orders_agree_with_equality(
    answer: str | float, value: str | float
) -> None:
    equal = holds("answers.q", "eq", value, q=answer)
    if canonical(value) is not None:
        assert holds("answers.q", "ne", value, q=answer) is not equal
    at_least, at_most = (holds("answers.q", op, value, q=answer) for op in ("gte", "lte"))
    more, less = (holds("answers.q", op, value, q=answer) for op in ("gt", "lt"))
    assert (at_least and at_most) == (equal and not isinstance(canonical(value), str))
    assert not (more and less)
    assert at_least == (more or (at_least and at_most))
