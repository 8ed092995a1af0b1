"""At which address a call was made: a number may have been moved to or from a provider with a record."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Container, Iterable
from datetime import datetime, timedelta

# A sender notices a new address when it next renews the number's lease.
NOTICED_WITHIN = timedelta(minutes=2)


def plain(base_url: str) -> str:
    return base_url.rstrip("/")


class Addresses:
    """`moves`: number, time and new base URL, in order. `recorded`: base URLs whose record is read."""

    def __init__(self, moves: Iterable[tuple[str, datetime, str]], recorded: Container[str]) -> None:
        self._recorded = recorded
        self._since: defaultdict[str, list[datetime]] = defaultdict(list)
        self._recorded_since: defaultdict[str, list[bool]] = defaultdict(list)
        for number_id, at, base_url in moves:
            self._since[number_id].append(at)
            self._recorded_since[number_id].append(plain(base_url) in recorded)

    def have_record(self, number_id: str | None, called_at: datetime, base_url: str | None) -> bool:
        """False where the call may have gone to an address without a record.

        `base_url` is the number's present one, for a call from before the first known move; None: there is no
        such number, and the record must have the call.
        """
        since = self._since.get(number_id or "", [])
        known = bisect_right(since, called_at)
        if known == 0:
            return base_url is None or plain(base_url) in self._recorded
        first = max(bisect_right(since, called_at - NOTICED_WITHIN), 1)
        return all(self._recorded_since[number_id or ""][first - 1 : known])
