"""Which tickets were used: known to all processes in Valkey, to each alone while that is unavailable."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum
from pathlib import Path
from typing import Any

from ingest_api.abuse.metrics import TICKETS, TICKETS_KEPT, TICKETS_REJECTED
from pipeline.abuse.verdicts import Unavailable
from pipeline.topology.file import Abuse

USE = Path(__file__).with_name("use_ticket.lua").read_text(encoding="utf-8")
MOVED_WINDOW_MS = 60_000

Run = Callable[..., Awaitable[Any]]  # a script and its arguments; raises Unavailable


class Use(Enum):
    OK = "ok"
    USED = "used"
    MOVED = "moved"


class UsedTickets:
    """`run`: of the script in Valkey. What this process knows as used is rejected without a round trip."""

    def __init__(self, limits: Abuse, now_ms: Callable[[], int], run: Run) -> None:
        self._life_ms = (limits.ticket_wait_s + limits.ticket_s) * 1000
        self._kept_max = limits.tickets_kept_max
        self._moved_max = limits.moved_tickets_per_min
        self._now_ms = now_ms
        self._run = run
        self._used: dict[bytes, int] = {}  # in the order of their use
        self._moved: dict[str, tuple[int, int]] = {}  # network -> end of its window, and how many
        TICKETS_KEPT.set_function(lambda: len(self._used))

    async def use(self, ticket: bytes, moved_from: str) -> bool:
        """Use it; return whether it passes. `moved_from`: its network, if it comes from another one."""
        if ticket in self._used:
            TICKETS_REJECTED.labels(Use.USED.value).inc()
            return False
        try:
            found = Use((await self._run(USE, *self._arguments(ticket, moved_from))).decode())
            TICKETS.labels("valkey").inc()
        except Unavailable:
            found = self._alone(ticket, moved_from)
            TICKETS.labels("process").inc()
        if found is Use.MOVED:
            TICKETS_REJECTED.labels(found.value).inc()
            return False
        self._remember(ticket)
        if found is Use.USED:
            TICKETS_REJECTED.labels(found.value).inc()
        return found is Use.OK

    def _arguments(self, ticket: bytes, moved_from: str) -> tuple[str | int, ...]:
        return ticket.hex(), self._life_ms, moved_from, self._moved_max, MOVED_WINDOW_MS

    def _alone(self, ticket: bytes, moved_from: str) -> Use:
        if ticket in self._used:  # meanwhile
            return Use.USED
        if not moved_from:
            return Use.OK
        now_ms = self._now_ms()
        until_ms, count = self._moved.get(moved_from, (0, 0))
        if now_ms >= until_ms:
            self._moved.pop(moved_from, None)
            until_ms, count = now_ms + MOVED_WINDOW_MS, 0
        if count >= self._moved_max:
            return Use.MOVED
        self._moved[moved_from] = (until_ms, count + 1)
        if len(self._moved) > self._kept_max:
            del self._moved[next(iter(self._moved))]
        return Use.OK

    def _remember(self, ticket: bytes) -> None:
        """The oldest is forgotten: it is the first one that is too old to be valid."""
        now_ms = self._now_ms()
        self._used[ticket] = now_ms
        while self._used:
            oldest = next(iter(self._used))
            if len(self._used) <= self._kept_max and now_ms - self._used[oldest] < self._life_ms:
                break
            del self._used[oldest]
