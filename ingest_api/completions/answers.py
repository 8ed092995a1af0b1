"""Answers against their quiz: which are taken, and how many are right."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from ingest_api.http.problems import TOO_LONG, TOO_MANY_ANSWERS, UNKNOWN_QUESTION, pointer, refusal, shown
from schemas.records import Answer, Quiz

_INTEGER = re.compile(r"[+-]?\d{1,30}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?(\d{1,30}\.\d{0,30}|\.\d{1,30}|\d{1,30})([eE][+-]?\d{1,3})?", re.ASCII)


@dataclass(frozen=True)
class AnswerLimits:
    answers_max: int
    chars_max: int  # of one answer, or of all choices of one answer together
    question_chars_max: int


@dataclass(frozen=True)
class Marking:
    """What of a quiz is asked for each completion, made once a version. `right` holds normal forms."""

    quiz: Quiz
    questions: frozenset[str]
    right: Mapping[str, str]

    @classmethod
    def of(cls, quiz: Quiz) -> Marking:
        return cls(
            quiz=quiz,
            questions=frozenset(question.question_id for question in quiz.questions),
            right={
                question.question_id: normal(question.right_answer)
                for question in quiz.questions
                if question.right_answer is not None
            },
        )

    def score(self, answers: Mapping[str, Answer]) -> float | None:
        """Number of right answers, or None where the quiz has no right answers."""
        if not self.right:
            return None
        right = 0
        for question, wanted in self.right.items():
            given = answers.get(question)
            if given is not None and (given == wanted or normal(given) == wanted):
                right += 1
        return float(right)


def check(
    answers: Mapping[str, Answer], questions: frozenset[str], body_bytes: int, limits: AnswerLimits
) -> None:
    """Raises Refusal for too many or too long answers, and for questions that are not in the quiz's list.

    A question that nobody asked is a typing error somewhere: taking it would lose the answer without a word.
    """
    if len(answers) > limits.answers_max:
        raise refusal(
            TOO_MANY_ANSWERS,
            f"{len(answers)} answers; at most {limits.answers_max} are taken",
            pointer=pointer("answers"),
        )
    if questions:
        if not answers.keys() <= questions:
            unknown = next(question for question in answers if question not in questions)
            raise refusal(
                UNKNOWN_QUESTION,
                f'the quiz has no question "{shown(unknown)}"',
                pointer=pointer("answers", unknown),
            )
    else:
        _check_open_questions(answers, limits.question_chars_max)
    # Nothing in a body is longer than the body.
    if body_bytes > limits.chars_max:
        _check_lengths(answers, limits.chars_max)


def _check_open_questions(answers: Mapping[str, Answer], chars_max: int) -> None:
    for question in answers:
        if not question.strip():
            raise refusal(UNKNOWN_QUESTION, "a question id is empty", pointer=pointer("answers", question))
        if len(question) > chars_max:
            raise refusal(
                TOO_LONG,
                f"a question id has {len(question)} characters; at most {chars_max} are taken",
                pointer=pointer("answers", question),
            )


def _check_lengths(answers: Mapping[str, Answer], chars_max: int) -> None:
    for question, answer in answers.items():
        if isinstance(answer, str):
            chars = len(answer)
        elif isinstance(answer, list):
            chars = len(answer) + sum(map(len, answer))
        else:
            continue
        if chars > chars_max:
            raise refusal(
                TOO_LONG,
                f"an answer has {chars} characters; at most {chars_max} are taken",
                pointer=pointer("answers", question),
            )


def normal(answer: Answer) -> str:
    """The text that answers are compared by: `"4"`, `4`, `4.0` and `" 4 "` are one, `True` and `"true"` too.

    A list of one choice is that choice; of several, none of them.
    """
    if isinstance(answer, bool):
        return "true" if answer else "false"
    if isinstance(answer, int):
        return str(answer)
    if isinstance(answer, float):
        return _normal_float(answer)
    if isinstance(answer, list):
        return normal(answer[0]) if len(answer) == 1 else "\0"
    return _normal_text(answer) if len(answer) <= 128 else answer


@lru_cache(maxsize=4096)
def _normal_text(answer: str) -> str:
    text = answer.strip()
    if _INTEGER.fullmatch(text):
        return str(int(text))
    if _DECIMAL.fullmatch(text):
        return _normal_float(float(text))
    return text


def _normal_float(number: float) -> str:
    return str(int(number)) if number.is_integer() and abs(number) < 2**63 else repr(number)
