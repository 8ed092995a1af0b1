"""Accepts a report of progress: checks quiz and body, finds the question, publishes, answers 202.

A report without an answer may be lost: the client does not keep it as it keeps a completion.
"""

from __future__ import annotations

from ingest_api.completions.keys import TimeBounds, time_in
from ingest_api.completions.parse import given
from ingest_api.completions.receive import NOT_READY_RETRY_S, Stamp
from ingest_api.http import body
from ingest_api.http.cors import PREFLIGHT
from ingest_api.http.headers import by_name
from ingest_api.http.problems import NOT_READY, UNKNOWN_QUESTION, pointer, rejection, shown
from ingest_api.http.reply import Receive, Reply, Scope
from ingest_api.kafka.producer import Publisher
from ingest_api.progress.metrics import REPORTS
from ingest_api.progress.parse import Report, parse
from ingest_api.reference.loader import ReferenceData
from ingest_api.reference.quizzes import Quizzes
from ingest_api.reference.scoring import Scoring
from pipeline.topology.file import Edge
from pipeline.topology.model import Topic
from schemas import ids
from schemas.codec import Codec
from schemas.records import Progress, Quiz

ACCEPTED = Reply(202, b'{"accepted":true}')
NO_QUESTION = (0, "")


class ReceiveProgress:
    """Handler of `POST /quiz/{quiz_id}/progress`. Answers 202 only after the record is durable."""

    def __init__(
        self,
        edge: Edge,
        topic: Topic,
        codec: Codec[Progress],
        publisher: Publisher,
        reference_data: ReferenceData,
        quizzes: Quizzes,
        stamp: Stamp,
    ) -> None:
        self._bytes_max = edge.progress.body_bytes_max
        self._positions_max = edge.answers_max
        self._topic = topic.name
        self._codec = codec
        self._publisher = publisher
        self._reference_data = reference_data
        self._quizzes = quizzes
        self._stamp = stamp
        self._bounds = TimeBounds(
            edge.submitted_past_max_h, "submitted_past_max_h", edge.submitted_future_max_s
        )

    async def __call__(self, scope: Scope, receive: Receive) -> Reply:
        if scope["method"] == "OPTIONS":
            return PREFLIGHT
        headers = by_name(scope["headers"])
        if not self._reference_data.caught_up:
            raise rejection(NOT_READY, "the quizzes are still being read", retry_after_s=NOT_READY_RETRY_S)
        scoring = self._quizzes.open(scope["path_params"]["quiz_id"])
        body.require_json(headers)
        report = parse(await body.read_body(receive, headers, self._bytes_max))
        self._publisher.require_open()
        event = self._event(scoring, report)
        await self._publisher.publish(self._topic, event.visit_id.encode(), self._codec.encode(event))
        REPORTS.labels(event.kind).inc()
        return ACCEPTED

    def _event(self, scoring: Scoring, report: Report) -> Progress:
        """A time out of bounds is that of a wrong clock: the arrival counts instead.

        So a visit whose id has a wrong time is in the table under each day on which it reports.
        """
        now_ms = self._stamp.now_ms()
        visit_id = report.visit_id.lower()
        began_ms = time_in(visit_id)
        at_ms = report.at_ms
        position, question_id = reached(scoring, report, self._positions_max)
        return Progress(
            visit_id=visit_id,
            tenant_id=scoring.quiz.tenant_id,
            quiz_id=scoring.quiz.quiz_id,
            quiz_version=scoring.quiz.version,
            day=ids.day_of(self._within(began_ms, now_ms)),
            kind=report.kind,
            position=position,
            question_id=question_id,
            at=self._within(at_ms, now_ms),
            accepted_at=now_ms,
        )

    def _within(self, time_ms: int | None, now_ms: int) -> int:
        return time_ms if time_ms is not None and self._bounds.holds(time_ms, now_ms) else now_ms


def reached(scoring: Scoring, report: Report, positions_max: int) -> tuple[int, str]:
    """Return position and id of the question that the report names, or NO_QUESTION.

    A quiz without a list of questions has positions alone, as many as a completion may have answers.
    A question that has been removed is on pages that are open: it has no place among the others, so that such
    a report says nothing about how far.
    Raises Rejection for a question that the quiz never had.
    """
    quiz = scoring.quiz
    by_id, position = given(report.question_id), given(report.position)
    if by_id is not None:
        found = _position(quiz, by_id)
        if found is None and by_id not in scoring.questions:
            where = pointer("question_id")
            raise rejection(UNKNOWN_QUESTION, f'there is no question "{shown(by_id)}"', pointer=where)
        return NO_QUESTION if found is None else (found, by_id)
    if position is None:
        return NO_QUESTION
    if not quiz.questions:
        if position > positions_max:
            detail = f"a quiz has at most {positions_max} questions"
            raise rejection(UNKNOWN_QUESTION, detail, pointer=pointer("position"))
        return position, ""
    if position > len(quiz.questions):
        raise rejection(
            UNKNOWN_QUESTION, f"the quiz has {len(quiz.questions)} questions", pointer=pointer("position")
        )
    return position, quiz.questions[position - 1].question_id


def _position(quiz: Quiz, question_id: str) -> int | None:
    for position, question in enumerate(quiz.questions, 1):
        if question.question_id == question_id:
            return position
    return None
