from __future__ import annotations

import msgspec
import pytest

from ingest_api.reference.scoring import Scoring, normal
from schemas.records import Answer, Question, Quiz


def scoring(*right: tuple[str, str | None]) -> Scoring:
    questions = [Question(question, right_answer=answer) for question, answer in right]
    return Scoring.of(Quiz("quiz", "tenant", 1, "Quiz", questions, created_at=0))


@pytest.mark.parametrize("given", ["4", 4, 4.0, "4.0", " 4 ", "04", "4e0", ["4"], "+4"])
def test_a_number_is_right_however_it_is_written(given: Answer) -> None:
    assert scoring(("q", "4")).score({"q": given}) == 1.0
    assert scoring(("q", "4.0")).score({"q": given}) == 1.0


@pytest.mark.parametrize("given", ["5", 4.5, "four", True, ["4", "4"], [], "", "4" * 200])
def test_another_answer_is_wrong(given: Answer) -> None:
    assert scoring(("q", "4")).score({"q": given}) == 0.0


def test_a_former_question_may_be_answered_and_is_never_right_or_wrong() -> None:
    questions = [Question("new", right_answer="4")]
    quiz = Scoring.of(Quiz("quiz", "tenant", 2, "Quiz", questions, created_at=0, former_questions=["old"]))
    assert quiz.questions == {"new", "old"}
    assert quiz.score({"old": "4"}) == 0.0
    # Without listed questions any may be answered, former ones or not.
    assert Scoring.of(msgspec.structs.replace(quiz.quiz, questions=[])).questions == frozenset()


def test_texts_are_compared_exactly_but_for_spaces_around_them() -> None:
    quiz = scoring(("city", "Brasília"), ("yes", "true"), ("open", None))
    assert quiz.score({"city": " Brasília", "yes": True, "open": "x"}) == 2.0
    assert quiz.score({"city": "brasília"}) == 0.0


def test_a_quiz_without_right_answers_has_no_score() -> None:
    assert scoring(("q", None)).score({"q": "4"}) is None


def test_large_integers_do_not_become_equal() -> None:
    assert normal(2**53 + 1) != normal(2**53)
    assert normal(str(2**60 + 1)) == normal(2**60 + 1)
