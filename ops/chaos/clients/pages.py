"""Pages that report how far their visit has come; each report is sent until it is accepted."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from uuid import UUID

import aiohttp
import msgspec

EVERY_S = 0.25
KINDS = ("started", "progressed", "completed")
COMPLETED = "completed"
RETRY_S = 0.5
REQUEST_TIMEOUT_S = 5.0
GIVE_UP_AFTER_S = 120.0
ABANDON_EVERY = 3  # so that not every visit has the same end


@dataclass
class Pages:
    """`accepted`: visit -> the kinds of its reports that the edge accepted."""

    url: str
    accepted: dict[str, list[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    clock: Callable[[], float] = time.monotonic

    async def run(self, stop: asyncio.Event) -> None:
        """Begin visits until `stop`, and return once each report has its answer."""
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
        headers = {"Content-Type": "text/plain"}
        number = 0
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
            asyncio.TaskGroup() as group,
        ):
            while not stop.is_set():
                number += 1
                group.create_task(self._visit(session, number))
                await asyncio.sleep(EVERY_S)

    async def _visit(self, session: aiohttp.ClientSession, number: int) -> None:
        visit_id = new_visit(time.time_ns() // 1_000_000)
        kinds = KINDS if number % ABANDON_EVERY else (*KINDS[:2], "abandoned")
        for position, kind in enumerate(kinds):
            report = {"visit_id": visit_id, "kind": kind, **({"position": 1} if position else {})}
            if await self._is_accepted(session, msgspec.json.encode(report)):
                self.accepted.setdefault(visit_id, []).append(kind)

    async def _is_accepted(self, session: aiohttp.ClientSession, body: bytes) -> bool:
        give_up_s = self.clock() + GIVE_UP_AFTER_S
        while self.clock() < give_up_s:
            try:
                async with session.post(self.url, data=body) as response:
                    content = await response.read()
                if response.status == 202:
                    return True
                if response.status < 500 and response.status != 429:
                    self.problems.append(f"HTTP {response.status} {content[:200]!r}")
                    return False
            except (aiohttp.ClientError, TimeoutError, OSError):
                pass
            await asyncio.sleep(RETRY_S)
        return False


def new_visit(now_ms: int) -> str:
    """A UUIDv7, as pages make it."""
    number = now_ms << 80 | secrets.randbits(80)
    number = number & ~(0xF << 76) | 0x7 << 76
    return str(UUID(int=number & ~(0x3 << 62) | 0x2 << 62))


def missing(accepted: Mapping[str, Collection[str]], stored: Mapping[str, Collection[str]]) -> Iterator[str]:
    """Yield each visit that the table does not have, or not as completed. `stored`: the states of its rows.

    A visit has two rows where the edge's clock was wrong: its id then had a day that could not be right.
    """
    for visit_id, kinds in accepted.items():
        states = stored.get(visit_id, ())
        if not states or (COMPLETED in kinds and COMPLETED not in states):
            yield visit_id
