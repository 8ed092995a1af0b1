"""The states of a subject, and which follows which.

A subject is a client address, its network, or a quiz: `address:KEY`, `network:KEY`, `quiz:ID`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

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
# A state that a cause may follow with: a score makes a state only stricter, time ends it.
TRANSITIONS: Mapping[tuple[State, Cause], frozenset[State]] = {
    (State.CLEAR, Cause.SCORE): frozenset({State.DELAYED, State.CHALLENGED, State.BLOCKED}),
    (State.DELAYED, Cause.SCORE): frozenset({State.DELAYED, State.CHALLENGED, State.BLOCKED}),
    (State.CHALLENGED, Cause.SCORE): frozenset({State.CHALLENGED, State.BLOCKED}),
    (State.BLOCKED, Cause.SCORE): frozenset(),
    (State.RELEASED, Cause.SCORE): frozenset(),
    **{(state, Cause.OPERATOR): _BY_OPERATOR for state in State},
    **{(state, Cause.TIME): _CLEAR for state in State},
}
CONTENT = ("alike", "neighbours", "repeats", "invalid")  # signals of what an address sends
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
    - An address is challenged for its volume, which a crowd has too. What it sends speaks for itself: until
      that is enough for a block its requests are read on, only later.
    - A state that continues is renewed in its second half, so that it is not written at each look.
    """
    kind = Kind(named.partition(":")[0])
    wanted = _state_of(kind, points, limits)
    now = State.CLEAR if before is None else before.state_at(now_ms)
    if wanted not in TRANSITIONS[now, Cause.SCORE]:
        return None
    blocks = 0 if before is None else before.blocks
    lasts_s = _lasts_s(wanted, blocks, limits)
    if wanted is now and before is not None and before.until_ms - now_ms > lasts_s * 500:
        return None
    return follow(
        before,
        wanted,
        Cause.SCORE,
        named=named,
        sealed=sealed,
        now_ms=now_ms,
        lasts_s=lasts_s,
        points={name: round(value, 1) for name, value in points.items() if value >= 0.05},
    )


def stricter(one: State, other: State) -> State:
    """A released subject is as a clear one here."""
    return max(one, other, key=lambda state: _STRICTNESS[state])


_STRICTNESS = {State.RELEASED: 0, **{state: place for place, state in enumerate(_BY_STRICTNESS)}}


def _state_of(kind: Kind, points: Mapping[str, float], limits: Abuse) -> State:
    score = sum(points.values()) / limits.factor(kind.value)
    asked = score
    if kind is Kind.ADDRESS:
        if score >= limits.block_points:
            return State.BLOCKED
        asked -= sum(points.get(name, 0.0) for name in CONTENT)
    if asked >= limits.challenge_points:
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
