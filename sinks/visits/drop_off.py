"""At which question the visitors of a quiz leave it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import date, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from schemas.records import Quiz
from sinks.postgres.catalogue.quizzes import UnknownQuiz, get_quiz
from sinks.postgres.connect import Connection
from sinks.postgres.named_rows import fetch
from sinks.postgres.queries import load_queries
from sinks.visits.visit import VisitState

QUERIES = load_queries(Path(__file__).with_name("drop_off.sql"))


class Counted(NamedTuple):
    """How many visits are alike."""

    furthest: int
    question_id: str
    state: str
    silent: bool
    visits: int


class AtQuestion(msgspec.Struct, frozen=True):
    """`reached` = `left` + `active` + those that went further or completed. Position 0: no question yet."""

    position: int
    question_id: str
    text: str
    reached: int
    left: int
    active: int

    @property
    def left_ratio(self) -> float:
        return self.left / self.reached if self.reached else 0.0


class DropOff(msgspec.Struct, frozen=True):
    """`visits` = completed + abandoned + silent + active; `silent`: without a report for a while."""

    quiz_id: str
    title: str
    since: date
    until: date
    visits: int
    completed: int
    abandoned: int
    silent: int
    active: int
    states: dict[VisitState, int]
    questions: list[AtQuestion]


def drop_off(
    connection: Connection, quiz_id: str, *, since: date, until: date, silent_before: datetime
) -> DropOff:
    """Of the visits of these days, both included (UTC). Raises UnknownQuiz."""
    quiz = get_quiz(connection, quiz_id)
    if quiz is None:
        raise UnknownQuiz(quiz_id)
    parameters = {"quiz_id": quiz_id, "since": since, "until": until, "silent_before": silent_before}
    rows = fetch(connection, QUERIES["visits_by_question"], Counted, parameters)
    return summed(quiz, rows, since, until)


def summed(quiz: Quiz, rows: Iterable[Counted], since: date, until: date) -> DropOff:
    """Add the visits up, by the questions that the quiz has now.

    A question that it has no longer counts as the one that is now at its position. Of a quiz without a list
    of questions only the positions at which visits are, are in the result.
    """
    listed = list(rows)
    places = {question.question_id: place for place, question in enumerate(quiz.questions, 1)}
    last = len(quiz.questions) or max((row.furthest for row in listed), default=0)
    states: Counter[VisitState] = Counter()
    furthest: Counter[int] = Counter()
    left: Counter[int] = Counter()
    active: Counter[int] = Counter()
    silent = 0
    for row in listed:
        state = VisitState(row.state)
        states[state] += row.visits
        silent += row.visits if row.silent else 0
        if state is VisitState.COMPLETED:
            furthest[last] += row.visits
            continue
        place = places.get(row.question_id, min(row.furthest, last))
        furthest[place] += row.visits
        has_left = row.silent or state is VisitState.ABANDONED
        (left if has_left else active)[place] += row.visits
    questions = []
    reached = states.total()
    for place in range(last + 1):
        if not quiz.questions and 0 < place < last and not furthest[place]:
            continue  # no list has such a question: one report must not make thousands of lines
        question = quiz.questions[place - 1] if 0 < place <= len(quiz.questions) else None
        name, text = ("", "") if question is None else (question.question_id, question.text)
        questions.append(AtQuestion(place, name, text, reached, left[place], active[place]))
        reached -= furthest[place]
    completed, abandoned = states[VisitState.COMPLETED], states[VisitState.ABANDONED]
    return DropOff(
        quiz_id=quiz.quiz_id,
        title=quiz.title,
        since=since,
        until=until,
        visits=states.total(),
        completed=completed,
        abandoned=abandoned,
        silent=silent,
        active=states.total() - completed - abandoned - silent,
        states={state: states[state] for state in VisitState},
        questions=questions,
    )
