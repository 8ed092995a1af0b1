"""Texts with which WhatsApp Web sessions report a ban or their loss, as data.

Sources: [S] the source of the clients on which the gateways are built (Baileys, whatsmeow), [3] reports of
their users. They are parts of other texts, and prove nothing about the message.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sinks.actions import HoldNumber
from sinks.webhook import StatusError
from sinks.whatsapp.error_table import Signal, part
from sinks.whatsapp.loose_values import states_code

REACHOUT_LOCK = "reachout-timelock"
REACHOUT_CODE = "463"
QUARANTINE = HoldNumber("quarantined")
PAUSE = HoldNumber("paused", until_connected=True)

BANS = (
    Signal(
        REACHOUT_LOCK,
        QUARANTINE,
        "WhatsApp lets the number open no new chats for a time (463)",
        "[S]",
        part(r"\b(error|code|reason|status)\W{0,3}(code\W{0,3})?463\b|reach-?out.?time.?lock"),
    ),
    Signal("request-blocked", QUARANTINE, "WhatsApp blocked it", "[3]", part(r"request was blocked")),
    Signal(
        "banned",
        QUARANTINE,
        "the account is banned or restricted",
        "[3]",
        part(r"\b(account|your number) (is|was|has been) (temporarily )?(banned|suspended|restricted)\b"),
    ),
    Signal("checkpoint", QUARANTINE, "WhatsApp wants a check", "[3]", part(r"\bcheckpoint\b")),
    Signal(
        "unexpected-logout", QUARANTINE, "logged out by WhatsApp", "[3]", part(r"\blogged ?out\b|\blogout\b")
    ),
    Signal(
        "try-again-later",
        QUARANTINE,
        "WhatsApp asks to try again later",
        "[3]",
        part(r"please try again later"),
    ),
)
LOSSES = (
    Signal(
        "not-logged-in",
        PAUSE,
        "the instance is not logged in",
        "[S]",
        part(r"not logged in|store doesn't contain a device jid"),
    ),
    Signal(
        "connection-closed",
        PAUSE,
        "no connection to WhatsApp",
        "[S]",
        part(r"connection closed|websocket not connected"),
    ),
)
SIGNALS = (*BANS, *LOSSES)


def errors_of(status: str, *parts: Mapping[str, Any]) -> tuple[StatusError, ...]:
    """Of a status of a message: the lock comes as an error of a message that was accepted before."""
    if status == "failed" and any(states_code(one, REACHOUT_CODE) for one in parts):
        return (StatusError(REACHOUT_LOCK, "463"),)
    return ()
