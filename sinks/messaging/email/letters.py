"""A message as an e-mail: headers that cannot be injected, a text, the way to unsubscribe. Pure."""

from __future__ import annotations

import re
from datetime import datetime
from email.header import Header
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from pipeline.campaigns.message import Rendered

ADDRESS_CHARS_MAX = 254  # RFC 5321, of a path without its brackets
LOCAL_CHARS_MAX = 64
SUBJECT_CHARS_MAX = 150
# Of RFC 2047: mail programs decode it where it is not allowed, too, and show another address.
_ENCODED_WORD = "=?"
_ADDRESS = re.compile(
    r"(?P<local>[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*)"
    r"@(?P<domain>(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z0-9-]{2,63})",
    re.ASCII,
)


def address_of(written: str) -> str | None:
    """The address, in lower case; None for what no server takes without SMTPUTF8, or is no address."""
    if len(written) > ADDRESS_CHARS_MAX or _ENCODED_WORD in written:
        return None
    found = _ADDRESS.fullmatch(written.strip())
    return None if found is None or len(found["local"]) > LOCAL_CHARS_MAX else found[0].lower()


def domain_of(address: str) -> str:
    return address.rpartition("@")[2]


def message_id_of(attempt_id: str, sender: str) -> str:
    """Of the header `Message-ID`, without its brackets: the same for each repeat of an attempt."""
    return f"{attempt_id}@{domain_of(sender)}"


def subject_of(message: Rendered) -> str:
    """The message's own; without one, the first line of its text."""
    lines = (message.subject or message.text or "").strip().splitlines()
    subject = " ".join("".join(c for c in (lines[0] if lines else "") if c.isprintable()).split())
    return subject if len(subject) <= SUBJECT_CHARS_MAX else f"{subject[: SUBJECT_CHARS_MAX - 1]}…"


def letter(
    sender: str, to: str, message: Rendered, attempt_id: str, unsubscribe_url: str, now: datetime
) -> bytes:
    """The whole message, with CRLF. `sender` and `to` are addresses as `address_of` returns them.

    Each header is written as it is: `EmailMessage` decodes encoded words in what it is given, and writes
    what they hide.
    """
    headers = {
        "From": sender,
        "To": to,
        "Subject": _encoded(subject_of(message)),
        "Date": format_datetime(now),
        "Message-ID": f"<{message_id_of(attempt_id, sender)}>",
        # RFC 8058: one click in the mail program, without a page.
        "List-Unsubscribe": f"<{unsubscribe_url}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        "Auto-Submitted": "auto-generated",
    }
    body = EmailMessage(policy=SMTP)
    body.set_content(message.text or "", charset="utf-8", cte="quoted-printable")
    return (
        "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode("ascii") + body.as_bytes()
    )


def _encoded(text: str) -> str:
    """Of a header: as it is, or in encoded words, so that it is shown as it is."""
    if text.isascii() and _ENCODED_WORD not in text:
        return text
    return Header(text, "utf-8", header_name="Subject").encode(linesep="\r\n")
