"""Checks answers against the questions of their quiz."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ingest_api.http.problems import TOO_LONG, TOO_MANY_ANSWERS, UNKNOWN_QUESTION, pointer, rejection, shown
from schemas.records import Answer


@dataclass(frozen=True)
class AnswerLimits:
    answers_max: int
    chars_max: int  # of one answer, or of all choices of one answer together
    question_chars_max: int


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
