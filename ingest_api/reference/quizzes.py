"""The quizzes, in memory, as their compacted topic says."""

from __future__ import annotations

from ingest_api.completions.answers import Marking
from ingest_api.http.problems import CLOSED_QUIZ, UNKNOWN_QUIZ, refusal, shown
from schemas.records import Quiz


class Quizzes:
    """Written by the follower's thread, read by the loop's: each change is one assignment."""

    def __init__(self) -> None:
        self._by_id: dict[str, Marking] = {}

    def on_event(self, key: bytes, quiz: Quiz | None) -> None:
        """Ignores a version older than the known one, since an outbox may publish one again."""
        quiz_id = key.decode(errors="replace")
        if quiz is None:
            self._by_id.pop(quiz_id, None)
            return
        known = self._by_id.get(quiz.quiz_id)
        if known is None or quiz.version >= known.quiz.version:
            self._by_id[quiz.quiz_id] = Marking.of(quiz)

    def open(self, quiz_id: str) -> Marking:
        """Raises Refusal for a quiz that is unknown or closed."""
        known = self._by_id.get(quiz_id)
        if known is None:
            raise refusal(UNKNOWN_QUIZ, f'there is no quiz "{shown(quiz_id)}"')
        if not known.quiz.open:
            raise refusal(CLOSED_QUIZ, f'quiz "{shown(quiz_id)}" takes no completions any more')
        return known
