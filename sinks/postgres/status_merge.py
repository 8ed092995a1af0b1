"""What a provider's status makes of a delivery: pure, with the same end in whatever order they come."""

from __future__ import annotations

from dataclasses import dataclass

# The later of two wins. `failed` is above `sent`, because the provider says `sent` first and then takes it
# back, and below `delivered`, because what has arrived has arrived.
RANKS = {"sent": 1, "failed": 2, "delivered": 3, "read": 4}
PROOFS = ("sent", "delivered", "read")  # that the message left, whatever this side believes


@dataclass(frozen=True, slots=True)
class Becomes:
    """The delivery's new state."""

    state: str


@dataclass(frozen=True, slots=True)
class Stays:
    """The status says nothing new; it is done with."""


@dataclass(frozen=True, slots=True)
class Waits:
    """The status can only be judged when the call has its own result: keep it and ask again."""


def merge(state: str, status: str, *, of_last_attempt: bool) -> Becomes | Stays | Waits:
    """What `status` makes of a delivery in `state`; `of_last_attempt` tells whose message it is about.

    A proof counts for every attempt and against every state, waiting ones too: the message was sent, and must
    not be again. A failure counts for the last attempt only, and never before its caller has had its say: the
    provider tells refusals that may be retried in both ways.
    """
    if status not in RANKS:
        return Stays()
    if state in RANKS:
        if status == "failed" and not of_last_attempt:
            return Stays()
        return Becomes(status) if RANKS[status] > RANKS[state] else Stays()
    if status in PROOFS:
        return Becomes(status)
    if state == "calling" and of_last_attempt:
        return Waits()
    return Becomes(status) if state == "ambiguous" and of_last_attempt else Stays()
