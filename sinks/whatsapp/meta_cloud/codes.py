"""The Cloud API's error codes, as data: what each one says about the message, and what the sender does.

Source: Meta's error code reference for the Cloud API and the tables of its open clients
(docs/providers.md). HTTP statuses differ between those tables, so only `code` decides. A code that is not
here proves nothing: ambiguous.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

DAY_S = 86_400.0


@dataclass(frozen=True)
class Throttle:
    """Too fast: whatever shares the limit pauses, the delivery waits its turn again."""

    scope: Literal["account", "number"]


@dataclass(frozen=True)
class WaitForPair:
    """Too many messages to this recipient: it waits 4^X seconds, X from 0; nobody else does."""


@dataclass(frozen=True)
class Retry:
    """Certainly not sent: again after the usual back-off, or after `after_s`; `attempts_max` 0 is the
    topology's.
    """

    attempts_max: int = 0
    after_s: float = 0.0


@dataclass(frozen=True)
class HoldNumber:
    """The number (or every number of its account) may not send: the delivery goes back, unharmed."""

    state: Literal["paused", "stopped", "quarantined"]
    scope: Literal["account", "number"] = "number"


@dataclass(frozen=True)
class HoldTemplate:
    """The template may not be used now: every campaign of the tenant that uses it stops, the delivery goes
    back.
    """


@dataclass(frozen=True)
class FailCampaign:
    """Every message of this campaign would be refused the same way: this one failed, the campaign stops."""


@dataclass(frozen=True)
class Fail:
    """This recipient cannot get this message."""


@dataclass(frozen=True)
class Suppress:
    """The recipient does not want to hear from this tenant."""


@dataclass(frozen=True)
class Unclear:
    """The provider answered, and does not say that it dropped the message."""


Action = Throttle | WaitForPair | Retry | HoldNumber | HoldTemplate | FailCampaign | Fail | Suppress | Unclear

_TABLE: Mapping[int, tuple[Action, str]] = {
    4: (Throttle("account"), "too many calls of this app"),
    80007: (Throttle("account"), "too many calls of this account"),
    130429: (Throttle("number"), "too many messages of this number"),
    131056: (WaitForPair(), "too many messages to this recipient"),
    131057: (Retry(), "number in maintenance"),
    1: (Retry(attempts_max=2), "unknown error"),
    131049: (Retry(attempts_max=3, after_s=DAY_S), "held back to keep the ecosystem healthy"),
    131000: (Unclear(), "something went wrong"),
    131016: (Unclear(), "service unavailable"),
    2: (Unclear(), "service temporarily down"),
    133004: (Unclear(), "server temporarily unavailable"),
    0: (HoldNumber("paused"), "not authenticated"),
    190: (HoldNumber("paused"), "access token expired or invalid"),
    10: (HoldNumber("paused"), "permission missing"),
    131005: (HoldNumber("paused"), "access denied"),
    368: (HoldNumber("stopped", "account"), "account blocked for policy violations"),
    131031: (HoldNumber("stopped", "account"), "account locked"),
    131042: (HoldNumber("stopped", "account"), "billing problem"),
    131048: (HoldNumber("quarantined"), "spam limit of this number"),
    131064: (HoldNumber("stopped"), "number restricted"),
    133000: (HoldNumber("stopped"), "number not registered"),
    133005: (HoldNumber("stopped"), "number not registered (PIN)"),
    133006: (HoldNumber("stopped"), "number not verified"),
    133010: (HoldNumber("stopped"), "number not registered"),
    131045: (HoldNumber("stopped"), "number not registered (certificate)"),
    132015: (HoldTemplate(), "template paused"),
    132016: (HoldTemplate(), "template disabled"),
    100: (FailCampaign(), "invalid parameter"),
    131008: (FailCampaign(), "required parameter missing"),
    131009: (FailCampaign(), "parameter value not valid"),
    132000: (FailCampaign(), "wrong number of template parameters"),
    132001: (FailCampaign(), "template does not exist"),
    132005: (FailCampaign(), "template text too long"),
    132007: (FailCampaign(), "template breaks a policy"),
    132012: (FailCampaign(), "template parameter of the wrong form"),
    131053: (FailCampaign(), "media could not be used"),
    131026: (Fail(), "undeliverable to this recipient"),
    130472: (Fail(), "recipient is part of an experiment"),
    131047: (Fail(), "outside the 24 h window: use a template"),
    131050: (Suppress(), "recipient opted out of marketing"),
}

PERMISSION_CODES = range(200, 300)


def action_of(code: int) -> Action:
    """What to do about `code`; `Unclear` for a code that nobody lists as a refusal."""
    if code in PERMISSION_CODES:
        return HoldNumber("paused")
    entry = _TABLE.get(code)
    return Unclear() if entry is None else entry[0]


def meaning_of(code: int) -> str:
    """A few words for an operator."""
    if code in PERMISSION_CODES:
        return "permission missing"
    entry = _TABLE.get(code)
    return "code not listed" if entry is None else entry[1]


def listed_codes() -> tuple[int, ...]:
    """Every code of the table, ascending; the permission range by its first."""
    return tuple(sorted((*_TABLE, PERMISSION_CODES[0])))
