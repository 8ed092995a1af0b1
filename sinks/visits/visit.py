"""One visit of a quiz, merged from its reports: the result does not depend on their order nor on repeats.

Every field only grows, or only shrinks, so that a merge is a join; the state follows from the fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from schemas.records import Progress


class VisitState(StrEnum):
    """`visits.state`, which the table computes by the same rule as `Visit.state`."""

    STARTED = "started"
    PROGRESSED = "progressed"
    ABANDONED = "abandoned"
    COMPLETED = "completed"


STARTED, PROGRESSED = VisitState.STARTED, VisitState.PROGRESSED
ABANDONED, COMPLETED = VisitState.ABANDONED, VisitState.COMPLETED

# One more report, in whatever order it comes, changes a state only in these ways. A report after an
# abandonment resumes the visit; a completion ends it for good.
TRANSITIONS: Mapping[VisitState, frozenset[VisitState]] = MappingProxyType(
    {
        STARTED: frozenset((PROGRESSED, ABANDONED, COMPLETED)),
        PROGRESSED: frozenset((ABANDONED, COMPLETED)),
        ABANDONED: frozenset((PROGRESSED, COMPLETED)),
        COMPLETED: frozenset(),
    }
)


@dataclass(frozen=True, slots=True)
class Visit:
    """Times in ms since the epoch: `*_at` by the client's clock, `*_seen_at` by the edge's.

    - `furthest`: position of the furthest question, 0 for none; `question_id`: which one that is.
    - `active_at`: of the last report that is not an abandonment; None while there is none.
    - `abandoned_at`: of the last abandonment; `completed_at`: of the first completion.
    """

    quiz_version: int
    furthest: int
    question_id: str
    progressed: bool
    active_at: int | None
    abandoned_at: int | None
    completed_at: int | None
    first_seen_at: int
    last_seen_at: int

    @classmethod
    def of(cls, event: Progress) -> Visit:
        kind, at = event.kind, event.at
        return cls(
            quiz_version=event.quiz_version,
            furthest=event.position,
            question_id=event.question_id,
            progressed=kind == PROGRESSED,
            active_at=at if kind in (STARTED, PROGRESSED) else None,
            abandoned_at=at if kind == ABANDONED else None,
            completed_at=at if kind == COMPLETED else None,
            first_seen_at=event.accepted_at,
            last_seen_at=event.accepted_at,
        )

    def merge(self, other: Visit) -> Visit:
        furthest, question_id = max(
            (self.furthest, self.question_id), (other.furthest, other.question_id)
        )  # of another version of the quiz at the same place: any, but always the same one
        return Visit(
            quiz_version=max(self.quiz_version, other.quiz_version),
            furthest=furthest,
            question_id=question_id,
            progressed=self.progressed or other.progressed,
            active_at=max(_known(self.active_at, other.active_at), default=None),
            abandoned_at=max(_known(self.abandoned_at, other.abandoned_at), default=None),
            completed_at=min(_known(self.completed_at, other.completed_at), default=None),
            first_seen_at=min(self.first_seen_at, other.first_seen_at),
            last_seen_at=max(self.last_seen_at, other.last_seen_at),
        )

    @property
    def state(self) -> VisitState:
        if self.completed_at is not None:
            return COMPLETED
        if self.abandoned_at is not None:
            is_resumed = self.active_at is not None and self.active_at > self.abandoned_at
            return PROGRESSED if is_resumed else ABANDONED
        return PROGRESSED if self.progressed else STARTED


def _known(*times: int | None) -> Iterable[int]:
    return [time for time in times if time is not None]
