"""The quizzes in memory, from their compacted topic."""

from __future__ import annotations

from ingest_api.http.problems import CLOSED_QUIZ, UNKNOWN_QUIZ, rejection, shown
from ingest_api.reference.scoring import Scoring
from schemas.records import Quiz


class Quizzes:
    """Written by the follower's thread and read by the event loop's: each change is one assignment."""

    def __init__(self) -> None:
        self._by_id: dict[str, Scoring] = {}

    def on_event(self, key: bytes, quiz: Quiz | None) -> None:
        """Apply a version; an older one than the known is ignored: the outbox may publish it again."""
        quiz_id = key.decode(errors="replace")
        if quiz is None:
            self._by_id.pop(quiz_id, None)
            return
        known = self._by_id.get(quiz.quiz_id)
        if known is None or quiz.version >= known.quiz.version:
            self._by_id[quiz.quiz_id] = Scoring.of(quiz)

    def find(self, quiz_id: str) -> Scoring | None:
        return self._by_id.get(quiz_id)

    def open(self, quiz_id: str) -> Scoring:
        """Return the quiz's scoring. Raises Rejection if the quiz is unknown or closed."""
        known = self._by_id.get(quiz_id)
        if known is None:
            raise rejection(UNKNOWN_QUIZ, f'there is no quiz "{shown(quiz_id)}"')
        if not known.quiz.open:
            raise rejection(CLOSED_QUIZ, f'quiz "{shown(quiz_id)}" no longer accepts completions')
        return known
