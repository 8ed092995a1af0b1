"""Merges a provider status into a delivery's state; the result does not depend on their order. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sinks.delivery.state import ACCEPTED, DeliveryState

# The later of two wins. `failed` is above `sent`, because the provider says `sent` first and then takes it
# back, and below `delivered`, because what has arrived has arrived.
RANKS: Mapping[str, int] = {
    DeliveryState.SENT: 1,
    DeliveryState.FAILED: 2,
    DeliveryState.DELIVERED: 3,
    DeliveryState.READ: 4,
}
PROOFS: tuple[str, ...] = ACCEPTED  # that the message left, whatever this side believes


@dataclass(frozen=True, slots=True)
class Becomes:
    """The delivery's new state."""

    state: str


@dataclass(frozen=True, slots=True)
class Stays:
    """The status says nothing new; it is done with."""


@dataclass(frozen=True, slots=True)
class Waits:
    """A failure of a call that has no result, or will be repeated: judged when its delivery's state is."""


def merge(state: str, status: str, *, of_last_attempt: bool) -> Becomes | Stays | Waits:
    """What `status` makes of a delivery in `state`; `of_last_attempt` tells whose message it is about.

    A proof counts for every attempt and against every state, waiting ones too: the message was sent, and must
    not be again. A failure counts for the last attempt only, and not before its caller has had its say: the
    provider tells refusals that may be retried in both ways.
    """
    if status not in RANKS:
        return Stays()
    if status == DeliveryState.FAILED and not of_last_attempt:
        return Stays()
    if state in RANKS:
        return Becomes(status) if RANKS[status] > RANKS[state] else Stays()
    if status in PROOFS or state == DeliveryState.AMBIGUOUS:
        return Becomes(status)
    return Waits()
