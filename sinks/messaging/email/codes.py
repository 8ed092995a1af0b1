"""Replies of SMTP servers, as data: what a rejection leads to, by its code, its enhanced code and its step.

Sources: [O] RFC 5321 (codes), RFC 3463 and the IANA registry of enhanced codes, RFC 4954 (signing in); [3]
replies of large providers that senders have published, [I] inference. A reply of 4xx or 5xx is a rejection at
every step, also as the answer to the message itself (RFC 5321, section 4.2.5).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from sinks.actions import Action, FailMessage, FailRecipient, HoldNumber, Retry, Throttle

GREYLIST_WAIT_S = 300.0  # servers that greylist accept a repeat after some minutes
MAILBOX_FULL_WAIT_S = 3_600.0
ENHANCED = re.compile(r"[45]\.\d{1,3}\.\d{1,3}", re.ASCII)
_CODE = re.compile(r"(?:(MAIL|AUTH|DATA) )?([45]\d\d)(?: ([45]\.\d{1,3}\.\d{1,3}))?", re.ASCII)


class Reply(NamedTuple):
    action: Action
    meaning: str
    source: str


_RECIPIENT, _MESSAGE, _PAUSED = FailRecipient(), FailMessage(), HoldNumber("paused")
_STOPPED, _THROTTLED = HoldNumber("stopped"), Throttle("number")

BY_ENHANCED: dict[str, Reply] = {
    "5.1.1": Reply(_RECIPIENT, "no such mailbox", "[O]"),
    "5.1.2": Reply(_RECIPIENT, "no such mail domain", "[O]"),
    "5.1.3": Reply(_RECIPIENT, "not a valid address", "[O]"),
    "5.1.6": Reply(_RECIPIENT, "the mailbox has moved", "[O]"),
    "5.1.7": Reply(_STOPPED, "the sender's address is not valid", "[O]"),
    "5.1.8": Reply(_STOPPED, "the sender's domain is not valid", "[O]"),
    "5.1.10": Reply(_RECIPIENT, "the domain takes no mail (null MX)", "[O]"),
    "5.2.1": Reply(_RECIPIENT, "the mailbox is disabled", "[O]"),
    "5.2.2": Reply(_RECIPIENT, "the mailbox is full", "[O]"),
    "5.2.3": Reply(_MESSAGE, "the message is too large for the mailbox", "[O]"),
    "5.3.4": Reply(_MESSAGE, "the message is too large", "[O]"),
    "5.4.5": Reply(_THROTTLED, "the daily limit of the account is reached", "[3]"),
    "5.7.1": Reply(_MESSAGE, "rejected by a policy of the server", "[O]"),
    "5.7.8": Reply(_PAUSED, "user or password is wrong", "[O]"),
    "5.7.23": Reply(_STOPPED, "SPF of the sender's domain failed", "[O]"),
    "5.7.25": Reply(_STOPPED, "the server's address has no reverse name", "[O]"),
    "5.7.26": Reply(_STOPPED, "SPF and DKIM of the sender's domain failed", "[O]"),
    "5.7.28": Reply(HoldNumber("quarantined"), "too much mail that was not asked for", "[O]"),
    "4.2.2": Reply(Retry(after_s=MAILBOX_FULL_WAIT_S), "the mailbox is full", "[O]"),
    "4.4.5": Reply(_THROTTLED, "the server is overloaded", "[O]"),
    "4.7.0": Reply(_THROTTLED, "temporarily rejected by a policy", "[3]"),
    "4.7.28": Reply(_THROTTLED, "too much mail in a short time", "[O]"),
}
BY_CODE: dict[str, Reply] = {
    "421": Reply(_THROTTLED, "the server closes the connection", "[O]"),
    "450": Reply(Retry(after_s=GREYLIST_WAIT_S), "the mailbox is unavailable now (greylisting)", "[O]"),
    "451": Reply(Retry(after_s=GREYLIST_WAIT_S), "an error of the server (greylisting)", "[O]"),
    "452": Reply(_THROTTLED, "the server has no room, or too many recipients", "[O]"),
    "454": Reply(_THROTTLED, "authentication is not available now", "[O]"),
    "530": Reply(_PAUSED, "authentication is required", "[O]"),
    "534": Reply(_PAUSED, "the authentication is too weak", "[O]"),
    "535": Reply(_PAUSED, "user or password is wrong", "[O]"),
    "538": Reply(_PAUSED, "authentication requires encryption", "[O]"),
    "550": Reply(_RECIPIENT, "the mailbox is unavailable", "[O]"),
    "551": Reply(_RECIPIENT, "the mailbox is elsewhere", "[O]"),
    "552": Reply(_MESSAGE, "more than the mailbox may store", "[O]"),
    "553": Reply(_RECIPIENT, "the mailbox's name is not allowed", "[O]"),
    "554": Reply(_MESSAGE, "the transaction failed", "[O]"),
}
# The server rejects the sender itself: at these steps, and with these codes, it has seen no recipient and no
# message yet. So every message of this sender would get the same answer, whatever its enhanced code says.
SENDER_STEPS = ("MAIL", "AUTH")
LOGIN_CODES = ("530", "534", "535", "538")
SENDER_REJECTED = Reply(_PAUSED, "the sender, or its login, is rejected", "[I]")
TEMPORARY = Reply(Retry(), "temporarily rejected", "[O]")
UNLISTED = FailRecipient("nowhere")  # rejected, and nothing shows why


def code_of(step: str, status: int, text: str) -> str:
    """`550 5.1.1`; with the step where it decides: `MAIL`, `AUTH` or `DATA`."""
    found = ENHANCED.match(text.strip())
    enhanced = f" {found[0]}" if found is not None else ""
    return f"{step} {status}{enhanced}" if step else f"{status}{enhanced}"


def listed(code: str) -> Reply | None:
    """The entry of a code as `code_of` makes it."""
    found = _CODE.fullmatch(code)
    if found is None:
        return None
    step, status, enhanced = found.groups()
    found_enhanced = BY_ENHANCED.get(enhanced)
    if (step in SENDER_STEPS and status.startswith("5")) or status in LOGIN_CODES:
        if found_enhanced is not None and isinstance(found_enhanced.action, HoldNumber | Throttle):
            return found_enhanced
        return BY_CODE[status] if status in LOGIN_CODES else SENDER_REJECTED
    if found_enhanced is not None:
        return found_enhanced
    if step == "DATA" and status in ("550", "553"):
        return BY_CODE["554"]  # the content: the recipient was accepted before
    return BY_CODE.get(status) or (TEMPORARY if status.startswith("4") else None)


def action_of(code: str, status: int | None) -> Action | None:
    """The action of a code as `code_of` makes it; None where nothing proves a rejection."""
    found = listed(code)
    if found is not None:
        return found.action
    return UNLISTED if _CODE.fullmatch(code) else None
