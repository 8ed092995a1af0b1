"""Looks up ambiguous attempts at providers that can find a message: what is found was sent.

What is not found proves nothing, since it may be late: the attempt stays ambiguous and is looked up again,
less and less often, `sender.lookups_max` times in all. Nothing is ever called again because of a lookup.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date
from typing import NamedTuple, Protocol
from uuid import UUID

from prometheus_client import Counter

from sinks.outcomes import Sent

log = logging.getLogger(__name__)

LOOKUPS_EVERY_S = 2.0
AT_ONCE_MAX = 20  # of a round, over all numbers: those of one number are made one after the other
FOUND = "found at the provider"


class InDoubt(NamedTuple):
    """An ambiguous attempt that is to be looked up at its provider."""

    campaign_month: date
    campaign_id: str
    contact_id: str
    tenant_id: str
    attempt_id: UUID
    number_id: str
    phone: str | None


class Finder(Protocol):
    """A number that this process holds."""

    can_find: bool

    @property
    def usable(self) -> bool: ...

    async def find(self, attempt_id: UUID, timeout_s: float) -> Sent | None:
        """The message of an attempt of this number; None proves nothing."""
        ...


class Lookups:
    """Of one process. `claim` counts a lookup of each attempt that it returns, `record` writes that it was
    sent.
    """

    def __init__(
        self,
        claim: Callable[[Sequence[str]], Awaitable[Sequence[InDoubt]]],
        record: Callable[[InDoubt, Sent], Awaitable[None]],
        timeout_s: float,
        counted: Counter,
    ) -> None:
        self._claim = claim
        self._record = record
        self._timeout_s = timeout_s
        self._counted = counted

    async def round(self, finders: Mapping[str, Finder]) -> None:
        """Looks up what is due. Counted before it is made, so that a crash makes none more."""
        able = {one: finder for one, finder in finders.items() if finder.can_find and finder.usable}
        if not able:
            return
        by_number: dict[str, list[InDoubt]] = {}
        for one in await self._claim(sorted(able)):
            by_number.setdefault(one.number_id, []).append(one)
        await asyncio.gather(*(self._of_number(able[one], some) for one, some in by_number.items()))

    async def _of_number(self, finder: Finder, due: Sequence[InDoubt]) -> None:
        for one in due:
            try:
                found = await finder.find(one.attempt_id, self._timeout_s)
            except Exception:
                log.exception("attempt %s: the lookup failed; it is made again later", one.attempt_id)
                found = None
            self._counted.labels("found" if found is not None else "not_found").inc()
            if found is not None:
                log.info("attempt %s: %s, so it was sent", one.attempt_id, FOUND)
                await self._record(one, found)
