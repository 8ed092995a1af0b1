"""UAZAPI's errors, as data: the API has no codes, only HTTP statuses and texts.

Sources: [S] the API's OpenAPI document (uazapiGO v2), [3] answers that public clients have recorded.
A text is listed whole: `error sending message after 2 attempts: ...` holds other texts, and after
its first attempt nothing is certain.
"""

from __future__ import annotations

from sinks.actions import Action, FailMessage, FailRecipient, HoldNumber, Throttle
from sinks.http_api import REJECTED_UNREAD
from sinks.whatsapp.error_table import ErrorTable, Listed, whole
from sinks.whatsapp.session_signals import SIGNALS

TABLE = ErrorTable(
    (
        Listed(
            "invalid-token",
            HoldNumber("paused"),
            "token of the instance missing, invalid or expired",
            "[S]",
            whole(r"(invalid|missing) token\.?|token inv[aá]lido( ou expirado)?"),
        ),
        Listed(
            "session-lost",
            HoldNumber("paused", until_connected=True),
            "the session with WhatsApp is lost: pair the instance again",
            "[3]",
            whole(r"whatsapp disconnected: session is not reconnectable"),
        ),
        Listed(
            "disconnected",
            HoldNumber("paused", until_connected=True),
            "the instance is not connected to WhatsApp now",
            "[3]",
            whole(r"whatsapp disconnected"),
        ),
        Listed(
            "not-on-whatsapp",
            FailRecipient(),
            "the number is not on WhatsApp",
            "[3]",
            whole(r"the number \S{1,80} is not on whatsapp"),
        ),
        Listed(
            "missing-field",
            FailMessage(),
            "a required field is missing",
            "[S]",
            whole(r"missing number or text|missing required fields"),
        ),
        Listed(
            "invalid-media",
            FailMessage(),
            "media type or file not supported",
            "[S]",
            whole(r"invalid media type or file format"),
        ),
        Listed("too-many-requests", Throttle("number"), "too many requests", "[S]", status=429),
        Listed("media-too-large", FailMessage(), "the media file is too large", "[S]", status=413),
        Listed("media-type", FailMessage(), "media format not supported", "[S]", status=415),
        Listed("unauthorized", HoldNumber("paused"), "not authorized", "[S]", status=401),
    ),
    SIGNALS,
)
UNLISTED = FailRecipient("nowhere")  # rejected, and nothing shows why: so nothing else stops
TIMED_OUT = 408  # of a gateway that waited for the API: proves nothing


def action_of(text: str, http_status: int | None) -> Action | None:
    """The action for an answer with this error text, or this code; None if the answer is ambiguous.

    One that is not listed is a rejection with a 4xx status only.
    """
    found = TABLE.by_code(text) or TABLE.listed(text, http_status)
    if found is not None:
        return found.action
    if http_status is None or not is_rejection(http_status):
        return None
    signal = TABLE.signal_in(text, http_status)
    if signal is None:
        return UNLISTED
    return signal.action if http_status in REJECTED_UNREAD else None


def is_rejection(http_status: int) -> bool:
    """Whether an error of the API with this status is a rejection, with any text."""
    return 400 <= http_status < 500 and http_status != TIMED_OUT
