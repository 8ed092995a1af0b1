"""Evolution API's errors, as data: HTTP statuses and texts, without codes.

Sources: [S] the API's source, [3] answers that public clients have recorded. The API answers 400 to errors of
its own too, also to some from after the message was sent (`Unique constraint failed on the fields`), so a
text that is not listed proves nothing, with any status.
"""

from __future__ import annotations

from sinks.actions import Action, FailMessage, FailRecipient, HoldNumber, Throttle
from sinks.whatsapp.error_table import ErrorTable, Listed, whole
from sinks.whatsapp.session_signals import SIGNALS

NOT_ON_WHATSAPP = "exists: false"  # of `response.message[0]`, in one text


TABLE = ErrorTable(
    (
        Listed(
            "not-on-whatsapp", FailRecipient(), "the number is not on WhatsApp", "[S]", whole(NOT_ON_WHATSAPP)
        ),
        Listed(
            "no-instance",
            HoldNumber("paused"),
            "there is no such instance",
            "[S]",
            whole(r"the .{1,130} instance does not exist"),
        ),
        Listed(
            "invalid-request",
            FailMessage(),
            "a field is missing or not valid",
            "[S]",
            whole(r"instance requires property .{1,100}|instance\.\w{1,40} (does not|is not) .{1,100}"),
        ),
        Listed("unauthorized", HoldNumber("paused"), "API key missing or invalid", "[S]", status=401),
        Listed("forbidden", HoldNumber("paused"), "not permitted with this API key", "[S]", status=403),
        Listed("too-many-requests", Throttle("number"), "too many requests", "[3]", status=429),
        Listed("too-large", FailMessage(), "the media file is too large", "[3]", status=413),
    ),
    SIGNALS,
)


def action_of(text: str, http_status: int | None) -> Action | None:
    """The action for an answer with this error text, or this code; None if the answer is ambiguous."""
    found = TABLE.by_code(text) or TABLE.listed(text, http_status)
    return None if found is None else found.action
