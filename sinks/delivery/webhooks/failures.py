"""Whether a delivery that the provider took and then reported as failed waits for another attempt. Pure.

A status `failed` states that the recipient did not get the message, so another call does not repeat it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import assert_never

from sinks.actions import (
    Action,
    FailCampaign,
    FailMessage,
    FailRecipient,
    HoldNumber,
    HoldTemplate,
    Retry,
    Suppress,
    Throttle,
    WaitForPair,
)
from sinks.delivery.routing.elsewhere import Found
from sinks.providers import provider_named

THROTTLED_S = 60.0  # a status has no Retry-After: as long as the longest pause after an answer
RETRIED_S = 60.0  # where the action has no wait of its own


@dataclass(frozen=True, slots=True)
class Limits:
    """The topology's `sender.attempts_max` and `sender.rejected_alike_max`."""

    attempts_max: int = 3
    rejected_alike_max: int = 10


LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Again:
    """The next attempt is due `after_s` after the status's time; `counted`: this one counts as an attempt.

    `with_fallbacks`: the next one is with the fallbacks, instead of what contacts typed. `elsewhere`: it is
    by another provider or on another channel.
    """

    action: str
    after_s: float
    counted: bool = True
    with_fallbacks: bool = False
    elsewhere: Found | None = None


def action_of(provider: str, codes: Iterable[str]) -> Action | None:
    """The action of the first code that is listed; None if none is."""
    found = (provider_named(provider).action_of(code, None) for code in codes)
    return next((action for action in found if action is not None), None)


def again(action: Action | None, attempts: int, limits: Limits, *, replaceable: bool = False) -> Again | None:
    """None: the failure is final. `attempts` were made, this one included; `replaceable` as in `consequence`.

    What holds the number or stops the template costs no attempt: an operator releases it.
    """
    match action:
        case Retry(attempts_max, after_s):
            wait, left = Again(action.name, after_s or RETRIED_S), attempts_max or limits.attempts_max
        case Throttle():
            wait, left = Again(action.name, THROTTLED_S), limits.attempts_max
        case WaitForPair(factor, attempts_max):
            wait, left = Again(action.name, factor ** max(0, attempts - 1)), attempts_max
        case HoldNumber() | HoldTemplate():
            return Again(action.name, 0.0, counted=False)
        case FailMessage() if replaceable:
            return Again(action.name, RETRIED_S, with_fallbacks=True)
        case None | FailCampaign() | FailMessage() | FailRecipient() | Suppress():
            return None
        case _:
            assert_never(action)
    return wait if attempts < left else None
