"""The outcome of a call to any provider. Only `Rejected`, `NotWritten` and `NotCalled` mean not sent."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from sinks.actions import Action, HoldNumber

CODE_CHARS_MAX = 64  # a code is a label of metrics and a column of the ledger
MESSAGE_ID_CHARS_MAX = 255  # the longest known ones have about 100
TEXT_CHARS_MAX = 65_536

# A provider's free text may repeat what it was sent. Its codes have at most six digits, a phone number more.
_PERSONAL = re.compile(r"\+?\d(?:[ ().-]?\d){6,}|[^\s@<>\"']+@[^\s@<>\"']+")


def plain(text: str) -> str:
    """The text as PostgreSQL and UTF-8 can store it: without NUL, with lone surrogates replaced."""
    return text[:TEXT_CHARS_MAX].replace("\x00", "").encode("utf-8", "replace").decode()


def without_personal(text: str) -> str:
    """A provider's free text for logs and reasons, without phone numbers, long ids and e-mail addresses."""
    return plain(_PERSONAL.sub("…", text))


def message_id_of(told: str) -> str:
    """A provider's id of a message as the ledger stores it, in answers and in webhooks alike.

    Of one that is too long the beginning and a digest of the whole stay, so that different ids stay so.
    """
    if len(told) > MESSAGE_ID_CHARS_MAX:
        digest = hashlib.blake2b(told.encode("utf-8", "replace"), digest_size=16).hexdigest()
        told = f"{told[: MESSAGE_ID_CHARS_MAX - len(digest) - 1]}#{digest}"
    return plain(told)


@dataclass(frozen=True)
class Sent:
    """The provider accepted the message and gave it an id. `recipients` are its ids of the recipient."""

    provider_message_id: str
    recipients: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rejected:
    """The provider refused the message: it was not sent.

    `code` is the provider's own, as text, for operators only: `action` is what the sender works on. `listed`
    is False for a code that the provider's package does not know, `written` where this side rejected the
    message and the provider never saw it.
    """

    action: Action
    code: str
    detail: str
    retry_after_s: float = 0.0  # what the provider asked for; 0 where it did not
    listed: bool = True
    written: bool = True


@dataclass(frozen=True)
class NotWritten:
    """The connection was lost before a byte of the request was written."""

    detail: str


@dataclass(frozen=True)
class NotCalled:
    """This process held the call back (it slept too long after the mark, or is stopping)."""

    detail: str


@dataclass(frozen=True)
class Ambiguous:
    """At least one byte was written and nothing proves what became of it.

    `hold`: the number may not send on, whatever became of this message.
    """

    detail: str
    code: str | None = None
    hold: HoldNumber | None = None


Outcome = Sent | Rejected | NotWritten | NotCalled | Ambiguous
