"""Whether a campaign fits the quizzes that it answers: checked when either of them is saved."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.campaigns import conditions as rules
from pipeline.campaigns import message as messages
from schemas.records import Condition, Message, Quiz


def problems(conditions: Sequence[Condition], message: Message, quizzes: Sequence[Quiz]) -> list[str]:
    """Why a campaign with these conditions and this message must be rejected, one line each; empty if sound.

    A quiz that lists no questions accepts an answer to any, so that conditions and variables may name any. No
    quiz at all (`quizzes` is empty) leaves the questions unchecked.
    """
    listed = all(quiz.questions for quiz in quizzes) and bool(quizzes)
    questions = frozenset(question.question_id for quiz in quizzes for question in quiz.questions)
    found = rules.problems(conditions, questions if listed else None)
    for quiz in quizzes or (None,):
        found += messages.check(message, quiz)
    return list(dict.fromkeys(found))
