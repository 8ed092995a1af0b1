"""The Cloud API's error codes, as data: the meaning of each one and the action that follows from it.

Source: Meta's error code reference for the Cloud API and the tables of its open clients
(docs/providers.md). HTTP statuses differ between those tables, so a listed code decides alone.
"""

from __future__ import annotations

from collections.abc import Mapping

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

DAY_S = 86_400.0
PAIR_FACTOR = 4.0  # the provider's: 4^X seconds
PAIR_ATTEMPTS_MAX = 8  # 4^7 s: four and a half hours after the first

# None: an error of the provider's own: ambiguous with a 5xx status, a rejection with a 4xx one.
_TABLE: Mapping[int, tuple[Action | None, str]] = {
    4: (Throttle("app"), "too many calls of this app"),
    80007: (Throttle("account"), "too many calls of this account"),
    130429: (Throttle("number"), "too many messages of this number"),
    131056: (WaitForPair(PAIR_FACTOR, PAIR_ATTEMPTS_MAX), "too many messages to this recipient"),
    131057: (Retry(), "number in maintenance"),
    131049: (Retry(attempts_max=3, after_s=DAY_S), "held back to keep the ecosystem healthy"),
    1: (None, "unknown error"),
    131000: (None, "something went wrong"),
    131016: (None, "service unavailable"),
    2: (None, "service temporarily down"),
    133004: (None, "server temporarily unavailable"),
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
    100: (FailMessage(), "invalid parameter"),
    131008: (FailMessage(), "required parameter missing"),
    131009: (FailMessage(), "parameter value not valid"),
    132000: (FailMessage(), "wrong number of template parameters"),
    132001: (FailCampaign(), "template does not exist"),
    132005: (FailMessage(), "template text too long"),
    132007: (FailCampaign(), "template breaks a policy"),
    132012: (FailMessage(), "template parameter of the wrong form"),
    131053: (FailMessage(), "media could not be used"),
    131026: (FailRecipient(), "undeliverable to this recipient"),
    130472: (FailRecipient("provider"), "recipient is part of an experiment"),
    131047: (FailRecipient("provider"), "outside the 24 h window: use a template"),
    131050: (Suppress(), "recipient opted out of marketing"),
}

PERMISSION_CODES = range(200, 300)


# Of a code that is not listed: refused, nobody knows why, so nothing else stops, and no other route is tried.
UNLISTED = FailRecipient("nowhere")


def action_of(code: int, http_status: int | None) -> Action | None:
    """The action for an answer with this code in the error envelope; None if the answer is ambiguous.

    A code without an action, or one that is not listed, is a rejection with a 4xx status only.
    """
    if code in PERMISSION_CODES:
        return HoldNumber("paused")
    listed = _TABLE.get(code)
    if listed is not None and listed[0] is not None:
        return listed[0]
    if http_status is None or not 400 <= http_status < 500:
        return None
    return UNLISTED if listed is None else Retry()


def is_listed(code: int) -> bool:
    return code in _TABLE or code in PERMISSION_CODES


def meaning_of(code: int) -> str:
    """A few words for an operator."""
    if code in PERMISSION_CODES:
        return "permission missing"
    entry = _TABLE.get(code)
    return "code not listed" if entry is None else entry[1]


def listed_codes() -> tuple[int, ...]:
    """Every code of the table, ascending; the permission range by its first."""
    return tuple(sorted((*_TABLE, PERMISSION_CODES[0])))
