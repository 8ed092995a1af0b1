"""What can become of one call to a provider. Only `Rejected`, `NotWritten` and `NotCalled` say that nothing
was sent.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sent:
    """The provider accepted the message and gave it an id."""

    provider_message_id: str


@dataclass(frozen=True)
class Rejected:
    """The provider answered with a code that is listed as "not sent" (`codes.py`)."""

    code: int
    detail: str
    retry_after_s: float = 0.0  # what the provider asked for; 0 where it did not


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
    """At least one byte was written and nothing proves what became of it."""

    detail: str
    code: int | None = None


Outcome = Sent | Rejected | NotWritten | NotCalled | Ambiguous
