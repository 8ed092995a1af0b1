"""An attack: some addresses walk through phones at ten times their limit, while others send as people do.

Each client has an address of this machine's own network. The attack lasts until every attacker is blocked.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import msgspec

NETWORK = "127.0.0.0/16"  # trusted in a fault run: the load's, not that of these clients
ATTACKERS, HONEST = 4, 4
TEN_TIMES = 10
HONEST_EVERY_S = 2.0
IN_FLIGHT_MAX = 50  # of an attacker: more are not begun while nothing answers
REQUEST_TIMEOUT_S = 5.0
RETRY_S = 1.0
BLOCKED_WITHIN_S_MAX = 120.0  # other faults may keep the edge from receiving anything
LAST_ANSWERS_S_MAX = 60.0
EXAMPLES_MAX = 5


class _Answer(msgspec.Struct):
    type: str = ""
    ticket: str = ""
    completion_id: str = ""


@dataclass
class Siege:
    """One attack. Times in seconds of the machine's monotonic clock.

    - `blocked_after_s`: of each attacker; None if it never was.
    - `honest_problems`: rejections of honest clients as if they attacked.
    """

    begun_s: float
    ended_s: float = 0.0
    offered: int = 0
    accepted_ids: list[str] = field(default_factory=list)
    accepted_in_s: Counter[int] = field(default_factory=Counter)
    blocked_after_s: dict[str, float | None] = field(default_factory=dict)
    honest_offered: int = 0
    honest_accepted: int = 0
    honest_problems: list[str] = field(default_factory=list)

    @property
    def all_are_blocked(self) -> bool:
        return all(at_s is not None for at_s in self.blocked_after_s.values())

    def note(self) -> str:
        times = sorted(at_s for at_s in self.blocked_after_s.values() if at_s is not None)
        after = f", blocked after {times[0]:.0f} to {times[-1]:.0f} s" if times else ""
        return (
            f"{len(times)} of {len(self.blocked_after_s)} attackers{after}; {self.offered:,} offered, "
            f"{self.honest_accepted} of {self.honest_offered} honest ones accepted"
        )


class Attacks:
    """`phone_of(number)`: a person's phone; `body_of(phone)`: a completion that no campaign matches."""

    def __init__(
        self,
        url: str,
        limit_per_min: int,
        phone_of: Callable[[int], str],
        body_of: Callable[[str], Mapping[str, object]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._per_s = TEN_TIMES * limit_per_min / 60
        self._phone_of = phone_of
        self._body_of = body_of
        self._clock = clock
        self._numbers = itertools.count(1)
        self._people = itertools.count()
        self._decode = msgspec.json.Decoder(_Answer).decode
        self.over: list[Siege] = []

    async def one(self, lasts_s: float) -> Siege:
        """Return once every attacker is blocked, and at the earliest after `lasts_s`."""
        number = next(self._numbers)
        siege = Siege(self._clock())
        attackers = [f"127.{100 + number}.{n}.1" for n in range(1, ATTACKERS + 1)]
        siege.blocked_after_s = dict.fromkeys(attackers)
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for n, address in enumerate(attackers):
                group.create_task(self._attack(siege, address, 400_000 * number + 100_000 * n, stop))
            for n in range(1, HONEST + 1):
                group.create_task(self._be_honest(siege, f"127.{50 + number}.{n}.1", stop))
            while not self._is_over(siege, lasts_s):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            stop.set()
        siege.ended_s = self._clock()
        self.over.append(siege)
        return siege

    def _is_over(self, siege: Siege, lasts_s: float) -> bool:
        lasted_s = self._clock() - siege.begun_s
        return lasted_s >= BLOCKED_WITHIN_S_MAX or (siege.all_are_blocked and lasted_s >= lasts_s)

    async def _attack(self, siege: Siege, address: str, first: int, stop: asyncio.Event) -> None:
        doing: set[asyncio.Task[None]] = set()
        async with _at(address) as session:
            for number in itertools.count(first):
                if stop.is_set():
                    break
                if len(doing) < IN_FLIGHT_MAX:
                    task = asyncio.create_task(self._walk(siege, session, address, number))
                    doing.add(task)
                    task.add_done_callback(doing.discard)
                await asyncio.sleep(1 / self._per_s)
            await asyncio.gather(*doing)

    async def _walk(self, siege: Siege, session: aiohttp.ClientSession, address: str, number: int) -> None:
        siege.offered += 1
        answer = await self._post(siege, session, f"+554799{number % 10**7:07d}", f"attack-{number}")
        if answer is not None and answer.type.endswith("/blocked") and siege.blocked_after_s[address] is None:
            siege.blocked_after_s[address] = self._clock() - siege.begun_s

    async def _be_honest(self, siege: Siege, address: str, stop: asyncio.Event) -> None:
        """One completion after the other; each is sent until accepted, with a ticket if there is one."""
        async with _at(address) as session:
            while not stop.is_set():
                siege.honest_offered += 1
                phone, ticket = self._phone_of(next(self._people)), ""
                key = f"honest-{address}-{siege.honest_offered}"
                give_up_s = self._clock() + LAST_ANSWERS_S_MAX
                while self._clock() < give_up_s:
                    answer = await self._post(siege, session, phone, key, ticket)
                    if answer is not None and answer.completion_id:
                        siege.honest_accepted += 1
                        break
                    if answer is not None and answer.type.endswith("/blocked"):
                        siege.honest_problems.append(f"{address}: blocked")
                    ticket = "" if answer is None else answer.ticket
                    await asyncio.sleep(2 * RETRY_S if ticket else RETRY_S)
                await asyncio.sleep(HONEST_EVERY_S)

    async def _post(
        self, siege: Siege, session: aiohttp.ClientSession, phone: str, key: str, ticket: str = ""
    ) -> _Answer | None:
        """Return the answer; None if there is none."""
        body = msgspec.json.encode(self._body_of(phone))
        query = {"ticket": ticket} if ticket else None
        try:
            async with session.post(
                self._url, data=body, params=query, headers={"Idempotency-Key": key}
            ) as response:
                answer = self._decode(await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError, msgspec.MsgspecError):
            return None
        if response.status != 202:
            return answer
        siege.accepted_ids.append(answer.completion_id)
        siege.accepted_in_s[int(self._clock())] += 1
        return answer


@asynccontextmanager
async def _at(address: str) -> AsyncIterator[aiohttp.ClientSession]:
    """A client with that address."""
    connector = aiohttp.TCPConnector(local_addr=(address, 0))
    timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
    headers = {"Content-Type": "application/json"}
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers) as session:
        yield session
