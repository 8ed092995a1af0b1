"""WhatsApp's ids of chats (JIDs): which of them are a person, and the ids of that person. Pure."""

from __future__ import annotations

import re

JID_CHARS_MAX = 128
# user, the number of a device or an agent where one is stated, server
_JID = re.compile(r"(?P<user>[0-9]{5,20})(?:[.:]\d{1,5})*@(?P<server>s\.whatsapp\.net|c\.us|lid)", re.ASCII)
_OTHERS = ("@g.us", "@broadcast", "@newsletter")


def person_id(jid: object) -> str | None:
    """The person's id: digits with country code of a phone, `...@lid` of one without; None for no person."""
    found = _JID.fullmatch(jid.strip()) if isinstance(jid, str) and len(jid) <= JID_CHARS_MAX else None
    if found is None:
        return None
    return f"{found['user']}@lid" if found["server"] == "lid" else found["user"]


def people(*jids: object) -> tuple[str, ...]:
    """The ids of one person, each once."""
    return tuple(dict.fromkeys(one for jid in jids if (one := person_id(jid)) is not None))


def is_of_many(jid: object) -> bool:
    """Whether the chat is a group, a broadcast list or a channel."""
    return isinstance(jid, str) and jid.strip().lower().endswith(_OTHERS)
