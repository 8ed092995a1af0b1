"""What the requests of one interval were: noted on their path, read off it."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from ingest_api.abuse.metrics import UNOBSERVED
from ingest_api.http.reply import Reply
from ingest_api.limits.sources import Source
from schemas.records import Completion


class Outcome(IntEnum):
    ACCEPTED = 0
    REJECTED = 1  # by a rate limit
    INVALID = 2
    OTHER = 3  # a page, a repeat, an overload
    CHALLENGED = 4
    ANSWERED = 5  # a challenge


class Observation(NamedTuple):
    source: Source
    quiz_id: str
    outcome: Outcome
    completion: Completion | None = None
    issued_ms: int = 0  # of a challenge
    with_ticket: bool = False


class Observations:
    """At most `observed_max` until they are taken: a flood is seen long before."""

    def __init__(self, observed_max: int) -> None:
        self._observed_max = observed_max
        self._seen: list[Observation] = []

    def answered(
        self, source: Source, quiz_id: str, reply: Reply, completion: Completion | None, *, with_ticket: bool
    ) -> None:
        if completion is not None:
            outcome = Outcome.ACCEPTED
        elif reply.problem == "rate-limited":
            outcome = Outcome.REJECTED
        elif reply.problem and 400 <= reply.status < 500 and reply.problem not in _NOT_THE_CLIENTS:
            outcome = Outcome.INVALID
        else:
            outcome = Outcome.OTHER
        self.add(Observation(source, quiz_id, outcome, completion, with_ticket=with_ticket))

    def add(self, observation: Observation) -> None:
        if len(self._seen) >= self._observed_max:
            UNOBSERVED.inc()
            return
        self._seen.append(observation)

    def take(self) -> list[Observation]:
        seen, self._seen = self._seen, []
        return seen


# A quiz may close, and a slow network may lose a body.
_NOT_THE_CLIENTS = ("closed-quiz", "body-timeout")
