"""Visitors at a constant rate (open loop): each is sent at its time, whatever became of those before."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import aiohttp

REQUEST_TIMEOUT_S = 60.0
IN_FLIGHT_MAX = 2_000


@dataclass
class Outcome:
    """Of all visitors so far: ids of what was accepted, and how the others ended."""

    accepted: list[str] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    longest_s: float = 0.0

    def __str__(self) -> str:
        return (
            f"{len(self.accepted)} accepted; statuses {dict(self.statuses)}; connection errors "
            f"{dict(self.errors)}; longest {self.longest_s:.2f} s"
        )


@contextmanager
def visitors(url: str, rate: float, *, token: str, keep_alive: bool) -> Iterator[Outcome]:
    """Post completions to `url` until the end of it. `keep_alive`: they share connections."""
    outcome = Outcome()
    stopping = threading.Event()
    thread = threading.Thread(
        target=lambda: asyncio.run(_visit(url, rate, token, keep_alive, outcome, stopping))
    )
    thread.start()
    try:
        yield outcome
    finally:
        stopping.set()
        thread.join()


async def _visit(
    url: str, rate: float, token: str, keep_alive: bool, outcome: Outcome, stopping: threading.Event
) -> None:
    connector = aiohttp.TCPConnector(limit=0, force_close=not keep_alive)
    timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
    headers = {"content-type": "application/json", "authorization": f"Bearer {token}"}
    visiting: set[asyncio.Task[None]] = set()
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers) as session:
        loop = asyncio.get_running_loop()
        began_s, sent = loop.time(), 0
        while not stopping.is_set():
            await asyncio.sleep(max(0.0, began_s + sent / rate - loop.time()))
            sent += 1
            if len(visiting) < IN_FLIGHT_MAX:
                task = asyncio.create_task(_post(session, url, outcome))
                visiting.add(task)
                task.add_done_callback(visiting.discard)
        await asyncio.gather(*visiting)


async def _post(session: aiohttp.ClientSession, url: str, outcome: Outcome) -> None:
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    try:
        async with session.post(
            url, data=b'{"answers": {}}', headers={"idempotency-key": str(uuid.uuid4())}
        ) as response:
            content = await response.json(content_type=None)
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        outcome.errors[f"{type(error).__name__}: {error}"[:100]] += 1
        return
    outcome.statuses[response.status] += 1
    outcome.longest_s = max(outcome.longest_s, loop.time() - began_s)
    if response.status == 202:
        outcome.accepted.append(content["completion_id"])
