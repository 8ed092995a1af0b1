"""The outcome of a call to any provider. Only `Rejected`, `NotWritten` and `NotCalled` mean not sent."""

from __future__ import annotations

from dataclasses import dataclass

from sinks.actions import Action

CODE_CHARS_MAX = 64  # a code is a label of metrics and a column of the ledger


@dataclass(frozen=True)
class Sent:
    """The provider accepted the message and gave it an id."""

    provider_message_id: str


@dataclass(frozen=True)
class Rejected:
    """The provider refused the message: it was not sent.

    `code` is the provider's own, as text, for operators only: `action` is what the sender works on. `listed`
    is False for a code that the provider's package does not know.
    """

    action: Action
    code: str
    detail: str
    retry_after_s: float = 0.0  # what the provider asked for; 0 where it did not
    listed: bool = True


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

    `slow_down`: the answer looks like a limit or a refusal of every call, so the number pauses.
    """

    detail: str
    code: str | None = None
    slow_down: bool = False


Outcome = Sent | Rejected | NotWritten | NotCalled | Ambiguous
