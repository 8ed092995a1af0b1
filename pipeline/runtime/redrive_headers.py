"""Headers of redriven records, which no other code reads.

A redriven record is produced again, byte for byte, to its original partition. Its headers hold the number of
its dead letters so far, so that a new dead letter continues the count and names the one before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

DEAD_LETTER_HEADER = "quizstream-dead-letter"
ATTEMPTS_HEADER = "quizstream-attempts"
REASON_HEADER = "quizstream-reason"
ATTEMPTS_MAX = 2**31 - 1  # of the dead letter's schema; a larger number is not from this program

Headers = Sequence[tuple[str, str | bytes | None]] | Mapping[str, str | bytes | None]


class Redriven(msgspec.Struct, frozen=True):
    """The dead letter of a redriven record, and the number of its dead letters until then (from 1)."""

    dead_letter_id: str
    attempts: int


def headers_of(dead_letter_id: str, attempts: int, reason: str) -> list[tuple[str, bytes]]:
    """The headers of a redriven record; the reason is for people who inspect the topic."""
    return [
        (DEAD_LETTER_HEADER, dead_letter_id.encode()),
        (ATTEMPTS_HEADER, b"%d" % attempts),
        (REASON_HEADER, reason.encode()),
    ]


def redriven(headers: Headers | None) -> Redriven | None:
    """The redrive in a record's headers; None if it was never redriven or the headers are not valid."""
    if not headers:
        return None
    found = {name: value for name, value in dict(headers).items() if isinstance(value, bytes)}
    try:
        dead_letter_id = found[DEAD_LETTER_HEADER].decode("ascii")
        attempts = int(found[ATTEMPTS_HEADER])
    except (KeyError, ValueError):
        return None
    return Redriven(dead_letter_id, attempts) if 1 <= attempts < ATTEMPTS_MAX else None
