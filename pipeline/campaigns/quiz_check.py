"""Whether a campaign fits the quizzes that it answers: checked when either of them is saved."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.campaigns import channels
from pipeline.campaigns import conditions as rules
from pipeline.campaigns import message as messages
from schemas.records import ChannelText, Condition, Message, Quiz


def problems(
    conditions: Sequence[Condition],
    message: Message,
    quizzes: Sequence[Quiz],
    next_channels: Sequence[ChannelText] = (),
) -> list[str]:
    """Why a campaign with these conditions and messages must be rejected, one line each; empty if sound.

    A quiz that lists no questions accepts an answer to any, so that conditions and variables may name any. No
    quiz at all (`quizzes` is empty) leaves the questions unchecked.
    """
    listed = all(quiz.questions for quiz in quizzes) and bool(quizzes)
    questions = frozenset(question.question_id for quiz in quizzes for question in quiz.questions)
    found = rules.problems(conditions, questions if listed else None)
    for quiz in quizzes or (None,):
        found += messages.check(message, quiz)
        for further in next_channels:
            text = channels.text_of(message, further)
            found += [f"on {further.channel}: {problem}" for problem in messages.check(text, quiz)]
    return list(dict.fromkeys(found))
