"""The life of a delivery: its states, and every change of state that the ledger allows, as data.

The statements of SQL make the changes; tests run each of them from every state and compare what they do with
`RULES`. `docs/delivery-states.md` is written from the same table (`python -m ops.setup.delivery_states`).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple


class DeliveryState(StrEnum):
    """`deliveries.state`: the CHECK of the table has the same list."""

    WAITING = "waiting"
    LEASED = "leased"
    CALLING = "calling"
    SENT = "sent"
    DELIVERED = "delivered"
    READ = "read"
    FAILED = "failed"
    SUPPRESSED = "suppressed"
    CANCELLED = "cancelled"
    AMBIGUOUS = "ambiguous"
    DEAD = "dead"


WAITING, LEASED, CALLING = DeliveryState.WAITING, DeliveryState.LEASED, DeliveryState.CALLING
SENT, DELIVERED, READ = DeliveryState.SENT, DeliveryState.DELIVERED, DeliveryState.READ
FAILED, SUPPRESSED, CANCELLED = DeliveryState.FAILED, DeliveryState.SUPPRESSED, DeliveryState.CANCELLED
AMBIGUOUS, DEAD = DeliveryState.AMBIGUOUS, DeliveryState.DEAD

ANY = tuple(DeliveryState)
OPEN = (WAITING, LEASED, CALLING)
"""A sender still acts on them; every other state is terminal for it."""
ACCEPTED = (SENT, DELIVERED, READ)
"""The provider has the message."""
NOT_ACCEPTED = tuple(state for state in ANY if state not in ACCEPTED)

MEANINGS: Mapping[DeliveryState, str] = MappingProxyType(
    {
        WAITING: "owed; claimed by a sender once it is due",
        LEASED: "one sender may mark it, until its lease ends",
        CALLING: "the provider may have been called; written before the call",
        SENT: "accepted by the provider, which gave it a message id",
        DELIVERED: "on the recipient's device, by a status webhook",
        READ: "read by the recipient, by a status webhook",
        FAILED: "rejected finally by the provider, or impossible to build",
        SUPPRESSED: "the contact opted out, or has this campaign's message under another id",
        CANCELLED: "its campaign was cancelled, or ended long ago, before the call",
        AMBIGUOUS: "the call has no known end; never called again by itself",
        DEAD: "every attempt was rejected or not written",
    }
)


class Event(StrEnum):
    """What may happen to a delivery."""

    OPENED = "opened"
    CLAIMED = "claimed"
    MARKED = "marked"
    OPT_OUT_FOUND = "opt-out found"
    CANCELLATION_FOUND = "cancellation found"
    CAMPAIGN_LONG_ENDED = "campaign ended long ago"
    MARK_REFUSED = "mark rejected"
    HANDED_BACK = "handed back"
    NOT_SENDABLE = "not sendable"
    NOT_SENDABLE_HERE = "not sendable here"
    LEASE_EXPIRED = "lease expired"
    SENDER_LOST = "sender lost"
    ACCEPTED = "accepted"
    NOT_SENT = "not sent"
    REFUSED = "rejected"
    REFUSED_HERE = "rejected here"
    REFUSED_OPT_OUT = "rejected: opted out"
    ATTEMPTS_USED_UP = "attempts used up"
    NO_CLEAR_END = "no clear end"
    STATUS_SENT = "status sent"
    STATUS_DELIVERED = "status delivered"
    STATUS_READ = "status read"
    STATUS_FAILED = "status failed"
    STATUS_FAILED_HERE = "status failed here"
    STATUS_FAILED_FOR_NOW = "status failed for now"
    RESOLVED_SENT = "resolved as sent"
    RESOLVED_NOT_SENT = "resolved as not sent"
    REDRIVEN = "redriven"
    LEASE_OF_A_COPY = "lease of a restored copy"
    RESTORED_WAITING = "restored as waiting"
    RESTORED_SENT = "restored as sent"
    RESTORED_DELIVERED = "restored as delivered"
    RESTORED_READ = "restored as read"
    RESTORED_FAILED = "restored as failed"
    RESTORED_SUPPRESSED = "restored as suppressed"
    RESTORED_CANCELLED = "restored as cancelled"
    RESTORED_DEAD = "restored as dead"
    RESTORED_AMBIGUOUS = "restored as ambiguous"


class Rule(NamedTuple):
    """`event` moves a delivery from any of `sources` (none: it is new) to `target`, by `statement`."""

    event: Event
    sources: tuple[DeliveryState, ...]
    target: DeliveryState
    statement: str
    meaning: str


_CALLED = (CALLING, AMBIGUOUS)
# What a replayed webhook has proven before the history is applied stands, with a new sequence.
_RESTORED_FROM = {
    SENT: (*NOT_ACCEPTED, SENT),
    DELIVERED: tuple(state for state in ANY if state is not READ),
    READ: ANY,
    FAILED: (*NOT_ACCEPTED, SENT),
}
_UNPROVEN = (WAITING, LEASED, CALLING, AMBIGUOUS, SUPPRESSED, CANCELLED, DEAD)

RULES: tuple[Rule, ...] = (
    Rule(Event.OPENED, (), WAITING, "insert_deliveries", "a match opened it"),
    Rule(Event.CLAIMED, (WAITING,), LEASED, "claim_deliveries", "due, and a number has room for it"),
    Rule(Event.MARKED, (LEASED,), CALLING, "mark_calling", "nothing forbids the call"),
    Rule(Event.OPT_OUT_FOUND, (LEASED,), SUPPRESSED, "mark_calling", "the contact opted out meanwhile"),
    Rule(Event.CANCELLATION_FOUND, (LEASED,), CANCELLED, "mark_calling", "the campaign was cancelled"),
    Rule(
        Event.CAMPAIGN_LONG_ENDED,
        (WAITING,),
        CANCELLED,
        "cancel_ended",
        "its campaign ended `ended_campaign_days` ago",
    ),
    Rule(
        Event.MARK_REFUSED,
        (LEASED,),
        WAITING,
        "mark_calling",
        "sending is stopped, the number is lost, or its budget of 24 h is used up",
    ),
    Rule(Event.HANDED_BACK, (LEASED,), WAITING, "settle_leased", "its sender will not call in time"),
    Rule(Event.NOT_SENDABLE, (LEASED,), FAILED, "settle_leased", "no phone, or no whole message"),
    Rule(
        Event.NOT_SENDABLE_HERE,
        (LEASED,),
        WAITING,
        "settle_leased",
        "no address, or no whole message: due on the next channel",
    ),
    Rule(Event.LEASE_EXPIRED, (LEASED,), WAITING, "reclaim_leased", "its sender was lost before the mark"),
    Rule(Event.SENDER_LOST, (CALLING,), AMBIGUOUS, "reclaim_calling", "its sender was lost after the mark"),
    Rule(Event.ACCEPTED, _CALLED, SENT, "record_results", "the provider accepted the message"),
    Rule(
        Event.NOT_SENT, _CALLED, WAITING, "record_results", "certainly not sent: due later, or with fallbacks"
    ),
    Rule(Event.REFUSED, _CALLED, FAILED, "record_results", "the provider rejects this message finally"),
    Rule(
        Event.REFUSED_HERE,
        _CALLED,
        WAITING,
        "record_results",
        "it ends by this route: due by another provider or channel",
    ),
    Rule(Event.REFUSED_OPT_OUT, _CALLED, SUPPRESSED, "record_results", "the provider reports an opt-out"),
    Rule(Event.ATTEMPTS_USED_UP, _CALLED, DEAD, "record_results", "the last attempt was not sent either"),
    Rule(Event.NO_CLEAR_END, (CALLING,), AMBIGUOUS, "record_results", "written, without a clear answer"),
    Rule(Event.STATUS_SENT, _UNPROVEN, SENT, "settle_deliveries", "a status webhook proves the message"),
    Rule(
        Event.STATUS_DELIVERED,
        (*_UNPROVEN, SENT, FAILED),
        DELIVERED,
        "settle_deliveries",
        "a status webhook: it arrived",
    ),
    Rule(
        Event.STATUS_READ,
        (*_UNPROVEN, SENT, FAILED, DELIVERED),
        READ,
        "settle_deliveries",
        "a status webhook: it was read",
    ),
    Rule(
        Event.STATUS_FAILED,
        (SENT, AMBIGUOUS),
        FAILED,
        "settle_deliveries",
        "a status webhook about the last attempt",
    ),
    Rule(
        Event.STATUS_FAILED_HERE,
        (SENT, AMBIGUOUS),
        WAITING,
        "settle_deliveries",
        "the same, by a status webhook",
    ),
    Rule(
        Event.STATUS_FAILED_FOR_NOW,
        (SENT, AMBIGUOUS),
        WAITING,
        "settle_deliveries",
        "the code only delays, or there are fallbacks: due later",
    ),
    Rule(Event.RESOLVED_SENT, (AMBIGUOUS,), SENT, "resolve_delivery", "an operator found it at the provider"),
    Rule(
        Event.RESOLVED_NOT_SENT,
        (AMBIGUOUS,),
        FAILED,
        "resolve_delivery",
        "an operator checked at the provider that it was not sent",
    ),
    Rule(
        Event.REDRIVEN,
        (FAILED, DEAD),
        WAITING,
        "redrive_deliveries",
        "an operator; no call of it can have sent anything",
    ),
    Rule(
        Event.LEASE_OF_A_COPY,
        (LEASED, CALLING),
        AMBIGUOUS,
        "doubt_leases",
        "in the copy, and in no newer event",
    ),
    *(
        Rule(
            Event(f"restored as {target}"),
            _RESTORED_FROM.get(target, NOT_ACCEPTED),
            target,
            "restore_deliveries",
            "leased, calling or ambiguous at last" if target is AMBIGUOUS else "its newest event",
        )
        for target in (WAITING, SENT, DELIVERED, READ, FAILED, SUPPRESSED, CANCELLED, DEAD, AMBIGUOUS)
    ),
)

BY_OPERATORS = frozenset(
    rule.event for rule in RULES if rule.statement in ("resolve_delivery", "redrive_deliveries")
)
"""Events that no process causes by itself."""
RESTORING = frozenset(
    rule.event for rule in RULES if rule.statement in ("doubt_leases", "restore_deliveries")
)
"""Events of a ledger that was restored from an older copy: they repeat history, and start nothing."""

TRANSITIONS: Mapping[tuple[DeliveryState | None, Event], DeliveryState] = MappingProxyType(
    {(source, rule.event): rule.target for rule in RULES for source in (rule.sources or (None,))}
)


def after(state: DeliveryState | None, event: Event) -> DeliveryState | None:
    """The state that follows, None where the event does not apply (a new delivery has the state None)."""
    return TRANSITIONS.get((state, event))
