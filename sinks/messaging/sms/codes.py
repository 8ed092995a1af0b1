"""Twilio's error codes, as data: one action each.

Sources: [O] Twilio's error dictionary and its article on undelivered messages, [I] inference. The code
decides, not the HTTP status.
"""

from __future__ import annotations

from typing import NamedTuple

from sinks.actions import Action, FailMessage, FailRecipient, HoldNumber, Retry, Suppress, Throttle

OPTED_OUT = "21610"
UNLISTED = FailRecipient("nowhere")  # rejected, and nothing shows why: so nothing else stops
TIMED_OUT = 408  # of a gateway that waited for the API: proves nothing


class Code(NamedTuple):
    action: Action
    meaning: str
    source: str


_RECIPIENT, _MESSAGE = FailRecipient(), FailMessage()
_ACCOUNT_STOPPED = HoldNumber("stopped", "account")
_SENDER_STOPPED = HoldNumber("stopped")

CODES: dict[str, Code] = {
    # The account
    "20003": Code(HoldNumber("paused", "account"), "authentication failed", "[O]"),
    "20005": Code(_ACCOUNT_STOPPED, "the account is not active", "[O]"),
    "20404": Code(HoldNumber("paused", "account"), "no such account", "[O]"),
    "20429": Code(Throttle("account"), "too many requests", "[O]"),
    "30002": Code(_ACCOUNT_STOPPED, "the account is suspended", "[O]"),
    # The sender
    "21212": Code(_SENDER_STOPPED, "the sender is not valid", "[O]"),
    "21601": Code(_SENDER_STOPPED, "the sender cannot send SMS", "[O]"),
    "21603": Code(_SENDER_STOPPED, "there is no sender", "[O]"),
    "21606": Code(_SENDER_STOPPED, "the sender cannot send SMS, or is not of this account", "[O]"),
    "21609": Code(HoldNumber("paused"), "the address of the status callback is not valid", "[O]"),
    "21611": Code(Throttle("number"), "the queue of the sender is full", "[O]"),
    "21703": Code(_SENDER_STOPPED, "the messaging service has no sender", "[O]"),
    "30001": Code(Throttle("number"), "the queue of the sender is full", "[O]"),
    "30022": Code(Throttle("number"), "more than the carrier allows the sender", "[O]"),
    "30034": Code(_SENDER_STOPPED, "the sender is not registered with the carriers (A2P 10DLC)", "[O]"),
    # The recipient
    "21211": Code(_RECIPIENT, "the recipient is not a valid phone", "[O]"),
    "21214": Code(_RECIPIENT, "the recipient cannot be reached", "[O]"),
    "21408": Code(_RECIPIENT, "the account may not send to this country", "[O]"),
    "21608": Code(_RECIPIENT, "a trial account, and the recipient is not verified", "[O]"),
    OPTED_OUT: Code(Suppress(), "the recipient has opted out", "[O]"),
    "21612": Code(_RECIPIENT, "the sender cannot reach the recipient", "[O]"),
    "21614": Code(_RECIPIENT, "the recipient is not a mobile phone", "[O]"),
    "21635": Code(_RECIPIENT, "the recipient is a landline", "[O]"),
    "30003": Code(_RECIPIENT, "the phone is unreachable", "[O]"),
    "30004": Code(_RECIPIENT, "the message is blocked for this recipient", "[O]"),
    "30005": Code(_RECIPIENT, "the phone is unknown", "[O]"),
    "30006": Code(_RECIPIENT, "a landline, or an unreachable carrier", "[O]"),
    # The message
    "21602": Code(_MESSAGE, "the text is missing", "[O]"),
    "21617": Code(_MESSAGE, "the text is longer than 1,600 characters", "[O]"),
    "21619": Code(_MESSAGE, "there is neither a text nor a medium", "[O]"),
    "30007": Code(_MESSAGE, "filtered by Twilio or the carrier", "[O]"),
    "30010": Code(Retry(), "the price is higher than the maximum", "[I]"),
}


def action_of(code: str, http_status: int | None) -> Action | None:
    """One that is not listed is a rejection with a 4xx status only."""
    found = CODES.get(code)
    if found is not None:
        return found.action
    return UNLISTED if http_status is not None and is_rejection(http_status) else None


def is_rejection(http_status: int) -> bool:
    """Whether an error of the API with this status is a rejection, with any code."""
    return 400 <= http_status < 500 and http_status != TIMED_OUT
