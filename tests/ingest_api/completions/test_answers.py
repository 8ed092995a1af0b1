from __future__ import annotations

import pytest

from ingest_api.completions.answers import AnswerLimits, check
from ingest_api.http.problems import Rejection
from schemas.records import Answer

LIMITS = AnswerLimits(answers_max=3, chars_max=10, question_chars_max=5)


def rejected(answers: dict[str, Answer], questions: frozenset[str] = frozenset()) -> tuple[str, str | None]:
    with pytest.raises(Rejection) as raised:
        check(answers, questions, 1000, LIMITS)
    return raised.value.problem.kind.slug, raised.value.problem.pointer


def test_a_question_that_the_quiz_has_not_is_named() -> None:
    assert rejected({"a": 1, "b": 2}, frozenset({"a"})) == ("unknown-question", "#/answers/b")


def test_a_quiz_without_a_list_of_questions_takes_any() -> None:
    check({"any": 1}, frozenset(), 1000, LIMITS)
    assert rejected({"": 1}) == ("unknown-question", "#/answers/")
    assert rejected({"longer": 1}) == ("text-too-long", "#/answers/longer")


def test_sizes_are_bounded() -> None:
    check({"a": "x" * 10, "b": ["x" * 4, "y" * 4], "c": 1}, frozenset(), 1000, LIMITS)
    assert rejected({str(n): n for n in range(4)}) == ("too-many-answers", "#/answers")
    assert rejected({"a": "x" * 11}) == ("text-too-long", "#/answers/a")
    assert rejected({"a": ["x"] * 6}) == ("text-too-long", "#/answers/a")
