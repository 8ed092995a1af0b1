"""Checks answers against their quiz and counts the right ones."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from ingest_api.http.problems import TOO_LONG, TOO_MANY_ANSWERS, UNKNOWN_QUESTION, pointer, rejection, shown
from schemas.records import Answer, Quiz

_INTEGER = re.compile(r"[+-]?\d{1,30}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?(\d{1,30}\.\d{0,30}|\.\d{1,30}|\d{1,30})([eE][+-]?\d{1,3})?", re.ASCII)


@dataclass(frozen=True)
class AnswerLimits:
    answers_max: int
    chars_max: int  # of one answer, or of all choices of one answer together
    question_chars_max: int


@dataclass(frozen=True)
class Scoring:
    """The parts of a quiz that every completion needs, computed once a version.

    `right` holds the normal form of each right answer.
    """

    quiz: Quiz
    questions: frozenset[str]
    right: Mapping[str, str]

    @classmethod
    def of(cls, quiz: Quiz) -> Scoring:
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
        """Return the number of right answers, or None for a quiz without right answers."""
        if not self.right:
            return None
        right = 0
        for question, expected in self.right.items():
            given = answers.get(question)
            if given is not None and (given == expected or normal(given) == expected):
                right += 1
        return float(right)


def check(
    answers: Mapping[str, Answer], questions: frozenset[str], body_bytes: int, limits: AnswerLimits
) -> None:
    """Raise Rejection for too many answers, for a long answer and for a question that the quiz does not have.

    An unknown question is probably a typing error in the client; accepting it would lose the answer silently.
    """
    if len(answers) > limits.answers_max:
        raise rejection(
            TOO_MANY_ANSWERS,
            f"{len(answers)} answers; at most {limits.answers_max} are accepted",
            pointer=pointer("answers"),
        )
    if questions:
        if not answers.keys() <= questions:
            unknown = next(question for question in answers if question not in questions)
            raise rejection(
                UNKNOWN_QUESTION,
                f'the quiz has no question "{shown(unknown)}"',
                pointer=pointer("answers", unknown),
            )
    else:
        _check_open_questions(answers, limits.question_chars_max)
    # No text in a body is longer than the body.
    if body_bytes > limits.chars_max:
        _check_lengths(answers, limits.chars_max)


def _check_open_questions(answers: Mapping[str, Answer], chars_max: int) -> None:
    for question in answers:
        if not question.strip():
            raise rejection(UNKNOWN_QUESTION, "a question id is empty", pointer=pointer("answers", question))
        if len(question) > chars_max:
            raise rejection(
                TOO_LONG,
                f"a question id has {len(question)} characters; at most {chars_max} are accepted",
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
            raise rejection(
                TOO_LONG,
                f"an answer has {chars} characters; at most {chars_max} are accepted",
                pointer=pointer("answers", question),
            )


def normal(answer: Answer) -> str:
    """Return the normal form in which answers are compared.

    - `"4"`, `4`, `4.0` and `" 4 "` are equal, and so are `True` and `"true"`.
    - A list with one choice equals that choice; a list with several equals no single answer.
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
