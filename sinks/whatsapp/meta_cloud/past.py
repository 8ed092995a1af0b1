"""Messages from before a number was connected, as the webhook `history` copies them: whose is each. Pure.

A `thread` has the messages of one person, in both directions. The files of media come as a list of messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from sinks.webhook import Inbound
from sinks.whatsapp.meta_cloud.notices import digits
from sinks.whatsapp.meta_cloud.parts import NOBODY_BESIDE, is_time, message_of, text_of

KIND = "past_message"


def past_message(
    part: Mapping[str, Any], number_id: str, phone: str, person: str, received_at_ms: int
) -> Inbound | None:
    """The message of a person; None for one that the business wrote. Raises ValueError without its time.

    `phone`: ours, as it is displayed; `person`: the thread's. Either may be empty.
    """
    if _is_ours(part, phone, person):
        return None
    if not is_time(part.get("timestamp")):
        raise ValueError("a past message without its time")  # its opt-in must not end a later opt-out
    told = message_of(part, NOBODY_BESIDE, number_id, received_at_ms)
    return msgspec.structs.replace(told, kind=KIND, past=True)


def _is_ours(part: Mapping[str, Any], phone: str, person: str) -> bool:
    """Whether the business itself wrote the message: its number is the sender, or not the recipient."""
    sender, recipient = text_of(part.get("from")), digits(part.get("to"))
    if phone and phone in (digits(sender), recipient):
        return phone == digits(sender)
    # The business's number is not stated as either: a person's message has no recipient.
    return bool(recipient) or bool(person and sender and sender != person)
