"""Counts the right answers of a completion, by a quiz that is prepared once a version."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from schemas.records import Answer, Quiz

_INTEGER = re.compile(r"[+-]?\d{1,30}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?(\d{1,30}\.\d{0,30}|\.\d{1,30}|\d{1,30})([eE][+-]?\d{1,3})?", re.ASCII)


@dataclass(frozen=True)
class Scoring:
    """The parts of a quiz that every completion needs, computed once a version.

    `questions` are those that may be answered: a page that is still open answers former ones. Empty: any.
    `right` holds the normal form of each right answer.
    """

    quiz: Quiz
    questions: frozenset[str]
    right: Mapping[str, str]

    @classmethod
    def of(cls, quiz: Quiz) -> Scoring:
        return cls(
            quiz=quiz,
            questions=_accepted(quiz),
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


def _accepted(quiz: Quiz) -> frozenset[str]:
    if not quiz.questions:
        return frozenset()
    return frozenset((*(question.question_id for question in quiz.questions), *quiz.former_questions))


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
