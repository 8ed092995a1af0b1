"""Errors of an API without codes, as data: its HTTP statuses and texts, each with a name and an action."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sinks.actions import Action, HoldNumber

TOO_MANY_REQUESTS = 429


@dataclass(frozen=True, slots=True)
class Listed:
    """One rejection: `text` matches the whole error text, with any HTTP status; None: `status` alone decides.

    `code` is the name that this side gives it: a label of metrics, and a column of the ledger. `source`: [S]
    the API's source or document, [3] answers that public clients have recorded, [I] inference.
    """

    code: str
    action: Action
    meaning: str
    source: str
    text: re.Pattern[str] | None = None
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Signal:
    """What a text states about the number, whatever became of the message: `text` is searched in it.

    `code`, `meaning` and `source` as of `Listed`.
    """

    code: str
    action: HoldNumber
    meaning: str
    source: str
    text: re.Pattern[str]


def part(pattern: str) -> re.Pattern[str]:
    """Anywhere in a text, in any case."""
    return re.compile(pattern, re.IGNORECASE)


def whole(pattern: str) -> re.Pattern[str]:
    """Of a whole text, in any case."""
    return re.compile(pattern, re.IGNORECASE)


class ErrorTable:
    def __init__(self, entries: Sequence[Listed], signals: Sequence[Signal] = ()) -> None:
        self.entries = tuple(entries)
        self.signals = tuple(signals)
        self._by_code: dict[str, Listed | Signal] = {each.code: each for each in signals}
        self._by_code |= {each.code: each for each in entries}

    def by_code(self, code: str) -> Listed | Signal | None:
        """The entry of that code: what this side has called it, never what an API answers."""
        return self._by_code.get(code)

    def listed(self, text: str, http_status: int | None) -> Listed | None:
        """The entry for an API's error text; None for one that is not listed."""
        text = text.strip()
        by_text = (each for each in self.entries if each.text is not None and each.text.fullmatch(text))
        by_status = (each for each in self.entries if each.text is None and each.status == http_status)
        return next(by_text, None) or next(by_status, None)

    def signal_in(self, text: str, http_status: int) -> Signal | None:
        """The first signal in the text; a limit or a failure of the API itself is none of the number."""
        if http_status == TOO_MANY_REQUESTS:
            return None
        return next((each for each in self.signals if each.text.search(text)), None)
