"""A call without a whole answer: what it proves is the same for every provider."""

from __future__ import annotations

from sinks.connection import NoReply, NothingWritten, Reply
from sinks.outcomes import Ambiguous, NotCalled, NotWritten
from sinks.provider import Answer


def without_reply(answer: Answer) -> Reply | NotCalled | NotWritten | Ambiguous:
    """The reply, for the provider's package to read; else the outcome, which needs no reading."""
    match answer:
        case NothingWritten(detail, too_late=True):
            return NotCalled(detail)
        case NothingWritten(detail):
            return NotWritten(detail)
        case NoReply(detail):
            return Ambiguous(detail)
    return answer
