from __future__ import annotations

import pytest

from ingest_api.completions.answers import AnswerLimits, Scoring, check, normal
from ingest_api.http.problems import Rejection
from schemas.records import Answer, Question, Quiz

LIMITS = AnswerLimits(answers_max=3, chars_max=10, question_chars_max=5)


def scoring(*right: tuple[str, str | None]) -> Scoring:
    questions = [Question(question, right_answer=answer) for question, answer in right]
    return Scoring.of(Quiz("quiz", "tenant", 1, "Quiz", questions, created_at=0))


def rejected(answers: dict[str, Answer], questions: frozenset[str] = frozenset()) -> tuple[str, str | None]:
    with pytest.raises(Rejection) as raised:
        check(answers, questions, 1000, LIMITS)
    return raised.value.problem.kind.slug, raised.value.problem.pointer


@pytest.mark.parametrize("given", ["4", 4, 4.0, "4.0", " 4 ", "04", "4e0", ["4"], "+4"])
def test_a_number_is_right_however_it_is_written(given: Answer) -> None:
    assert scoring(("q", "4")).score({"q": given}) == 1.0
    assert scoring(("q", "4.0")).score({"q": given}) == 1.0


@pytest.mark.parametrize("given", ["5", 4.5, "four", True, ["4", "4"], [], "", "4" * 200])
def test_another_answer_is_wrong(given: Answer) -> None:
    assert scoring(("q", "4")).score({"q": given}) == 0.0


def test_texts_are_compared_exactly_but_for_spaces_around_them() -> None:
    quiz = scoring(("city", "Brasília"), ("yes", "true"), ("open", None))
    assert quiz.score({"city": " Brasília", "yes": True, "open": "x"}) == 2.0
    assert quiz.score({"city": "brasília"}) == 0.0


def test_a_quiz_without_right_answers_has_no_score() -> None:
    assert scoring(("q", None)).score({"q": "4"}) is None


def test_large_integers_do_not_become_equal() -> None:
    assert normal(2**53 + 1) != normal(2**53)
    assert normal(str(2**60 + 1)) == normal(2**60 + 1)


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
