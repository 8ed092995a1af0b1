"""How a record that comes back from the dead letters says so: in headers, which nothing else looks at.

A redriven record is produced again, byte for byte, to the partition that it came from. Its headers carry how
often it was given up already, so that a new dead letter counts on and names the one before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

DEAD_LETTER_HEADER = "quizstream-dead-letter"
ATTEMPTS_HEADER = "quizstream-attempts"
REASON_HEADER = "quizstream-reason"
ATTEMPTS_MAX = 2**31 - 1  # of the dead letter's schema; more is no header of ours

Headers = Sequence[tuple[str, str | bytes | None]] | Mapping[str, str | bytes | None]


class Redriven(msgspec.Struct, frozen=True):
    """The dead letter that a record was taken from, and how often it was given up until then (from 1)."""

    dead_letter_id: str
    attempts: int


def headers_of(dead_letter_id: str, attempts: int, reason: str) -> list[tuple[str, bytes]]:
    """What a redriven record travels with; the reason is for people who look at the topic."""
    return [
        (DEAD_LETTER_HEADER, dead_letter_id.encode()),
        (ATTEMPTS_HEADER, b"%d" % attempts),
        (REASON_HEADER, reason.encode()),
    ]


def redriven(headers: Headers | None) -> Redriven | None:
    """What a record's headers say; None where it was never redriven, or for headers that make no sense."""
    if not headers:
        return None
    found = {name: value for name, value in dict(headers).items() if isinstance(value, bytes)}
    try:
        dead_letter_id = found[DEAD_LETTER_HEADER].decode("ascii")
        attempts = int(found[ATTEMPTS_HEADER])
    except (KeyError, ValueError):
        return None
    return Redriven(dead_letter_id, attempts) if 1 <= attempts < ATTEMPTS_MAX else None
