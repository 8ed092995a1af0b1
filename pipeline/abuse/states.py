"""The states of a subject, and which follows which.

A subject is a client address, its network, or a quiz: `address:KEY`, `network:KEY`, `quiz:ID`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

import msgspec

from pipeline.topology.file import Abuse


class Kind(Enum):
    ADDRESS = "address"
    NETWORK = "network"
    QUIZ = "quiz"


class State(Enum):
    CLEAR = "clear"
    DELAYED = "delayed"
    CHALLENGED = "challenged"
    BLOCKED = "blocked"
    RELEASED = "released"  # by an operator: it is not judged


class Cause(Enum):
    SCORE = "score"
    OPERATOR = "operator"
    TIME = "time"


_BY_OPERATOR = frozenset({State.BLOCKED, State.RELEASED})
_CLEAR = frozenset({State.CLEAR})
# A state that a cause may follow with: a score makes a state only stricter, time ends it. Nothing is blocked
# that was not challenged before. A block that a ticket passes may become one that none passes.
TRANSITIONS: Mapping[tuple[State, Cause], frozenset[State]] = {
    (State.CLEAR, Cause.SCORE): frozenset({State.DELAYED, State.CHALLENGED}),
    (State.DELAYED, Cause.SCORE): frozenset({State.DELAYED, State.CHALLENGED}),
    (State.CHALLENGED, Cause.SCORE): frozenset({State.CHALLENGED, State.BLOCKED}),
    (State.BLOCKED, Cause.SCORE): frozenset({State.BLOCKED}),
    (State.RELEASED, Cause.SCORE): frozenset(),
    **{(state, Cause.OPERATOR): _BY_OPERATOR for state in State},
    **{(state, Cause.TIME): _CLEAR for state in State},
}
SOLVED = "solved"  # the signal of what is sent with tickets, and is not what people send
FAILED = ("unanswered", SOLVED)  # signals of a challenge that did not help
_BY_STRICTNESS = (State.CLEAR, State.DELAYED, State.CHALLENGED, State.BLOCKED)


class NotAllowed(Exception):
    """The transition is in no row of the table."""


class Verdict(msgspec.Struct, frozen=True, array_like=True):
    """A subject's state until a time. Times in ms since the epoch.

    - `points`: the score when it was decided, by signal.
    - `blocks`: how often it has been blocked while its record was kept: each block is twice as long.
    - `sealed`: the address or network, which only the owner of the contact key can read.
    """

    subject: str
    state: State
    since_ms: int
    until_ms: int
    cause: Cause
    points: dict[str, float] = {}
    blocks: int = 0
    sealed: str = ""

    @property
    def kind(self) -> Kind:
        return Kind(self.subject.partition(":")[0])

    @property
    def key(self) -> str:
        return self.subject.partition(":")[2]

    @property
    def score(self) -> float:
        return sum(self.points.values())

    def state_at(self, now_ms: int) -> State:
        return self.state if now_ms < self.until_ms else State.CLEAR

    @property
    def passed_by_tickets(self) -> bool:
        """Whether it lets requests with a ticket pass: they are not of those for whom it was made.

        A script does not answer challenges; people behind the same address do.
        """
        return self.state is not State.BLOCKED or (self.cause is Cause.SCORE and SOLVED not in self.points)

    def kept_until_ms(self, limits: Abuse) -> int:
        """After its end it is kept, so that a next block is longer; then it is deleted, address included."""
        return self.until_ms + limits.kept_s * 1000


def subject(kind: Kind, key: str) -> str:
    return f"{kind.value}:{key}"


def follow(
    before: Verdict | None,
    state: State,
    cause: Cause,
    *,
    named: str,
    sealed: str,
    now_ms: int,
    lasts_s: float,
    points: dict[str, float] | None = None,
) -> Verdict:
    """Return the verdict that follows `before`. Raises NotAllowed."""
    now = State.CLEAR if before is None else before.state_at(now_ms)
    if state not in TRANSITIONS[now, cause]:
        raise NotAllowed(f"{named}: {now.value} does not become {state.value} by {cause.value}")
    blocks = 0 if before is None else before.blocks
    return Verdict(
        subject=named,
        state=state,
        since_ms=before.since_ms if before is not None and now is state else now_ms,
        until_ms=now_ms + int(lasts_s * 1000),
        cause=cause,
        points=points or {},
        blocks=blocks + (state is State.BLOCKED),
        sealed=sealed or ("" if before is None else before.sealed),
    )


def judged(
    before: Verdict | None, named: str, sealed: str, points: dict[str, float], limits: Abuse, now_ms: int
) -> Verdict | None:
    """Return the verdict to which the points lead; None if nothing changes.

    - Only an address is blocked by its score: a network and a quiz belong to others too.
    - It is challenged first, and blocked when the challenge did not help: nobody answered, or what was sent
      with the tickets was no better.
    - A state that continues is renewed in its second half, so that it is not written at each look.
    """
    kind = Kind(named.partition(":")[0])
    now = State.CLEAR if before is None else before.state_at(now_ms)
    wanted = _state_of(kind, now, points, limits)
    if wanted not in TRANSITIONS[now, Cause.SCORE]:
        return None
    points = {name: round(value, 1) for name, value in points.items() if value >= 0.05}
    if points.get(SOLVED, 0.0) < limits.block_points:
        points.pop(SOLVED, None)
    blocks = 0 if before is None else before.blocks
    lasts_s = _lasts_s(wanted, blocks, limits)
    if wanted is now and before is not None:
        becomes_harder = before.passed_by_tickets and SOLVED in points
        is_young = before.until_ms - now_ms > lasts_s * 500
        if not becomes_harder if now is State.BLOCKED else is_young:
            return None
    return follow(
        before,
        wanted,
        Cause.SCORE,
        named=named,
        sealed=sealed,
        now_ms=now_ms,
        lasts_s=lasts_s,
        points=points,
    )


def merged(one: Verdict, other: Verdict, now_ms: int) -> Verdict:
    """Return what holds of two verdicts on one subject that were made without knowledge of each other.

    The same whichever comes first, and in any grouping of several:

    - what an operator decided, while it is in force, as a score follows it in no row of the table: the later;
    - else the stricter of what is in force, as a score only makes a state stricter; then what lasts longer.
    """

    def rank(verdict: Verdict) -> tuple[Any, ...]:
        state = verdict.state_at(now_ms)
        is_decided = verdict.cause is Cause.OPERATOR and state is not State.CLEAR
        is_hard = state is State.BLOCKED and not verdict.passed_by_tickets
        first = verdict.since_ms if is_decided else 2 * _STRICTNESS[state] + is_hard
        names = (verdict.state.value, verdict.cause.value)
        return (is_decided, first, verdict.until_ms, verdict.since_ms, *names, sorted(verdict.points.items()))

    holds = max(one, other, key=rank)
    return msgspec.structs.replace(
        holds, blocks=max(one.blocks, other.blocks), sealed=holds.sealed or one.sealed or other.sealed
    )


def stricter(one: State, other: State) -> State:
    """A released subject is as a clear one here."""
    return max(one, other, key=lambda state: _STRICTNESS[state])


_STRICTNESS = {State.RELEASED: 0, **{state: place for place, state in enumerate(_BY_STRICTNESS)}}


def _state_of(kind: Kind, now: State, points: Mapping[str, float], limits: Abuse) -> State:
    score = sum(points.values()) / limits.factor(kind.value)
    has_failed = sum(points.get(name, 0.0) for name in FAILED) >= limits.failed_points
    is_challenged = kind is Kind.ADDRESS and now in (State.CHALLENGED, State.BLOCKED)
    if is_challenged and has_failed and score >= limits.block_points:
        return State.BLOCKED
    if score >= limits.challenge_points:
        return State.CHALLENGED
    return State.DELAYED if score >= limits.delay_points else State.CLEAR


def _lasts_s(state: State, blocks: int, limits: Abuse) -> float:
    match state:
        case State.BLOCKED:
            return float(min(limits.block_max_s, limits.block_s * 2 ** min(blocks, 20)))
        case State.CHALLENGED:
            return float(limits.challenge_s)
        case _:
            return float(limits.delay_s)
