"""The start and the stop of an edge: clients notice neither.

- At the start a request waits until the edge is ready, instead of a 503 that a load balancer would pass on.
- The port that several edges share is joined only then, and left first at the stop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from enum import StrEnum

from ingest_api.http.metrics import START_WAITS

START_WAIT_S = (
    10.0  # from the process's start; afterwards a request is rejected at once while it is not ready
)
POLL_S = 0.05


class Stage(StrEnum):
    STARTING = "starting"
    SERVING = "serving"
    STOPPING = "stopping"


async def _nothing_to_join() -> None:
    return


class Lifecycle:
    """Belongs to one event loop. `join`: takes clients at the shared port; set by the server that has one."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, start_wait_s: float = START_WAIT_S
    ) -> None:
        self.stage = Stage.STARTING
        self.pending = True  # whether requests may have to wait
        self.join: Callable[[], Awaitable[None]] = _nothing_to_join
        self._clock = clock
        self._began_s = clock()
        self._start_wait_s = start_wait_s
        self._started = asyncio.Event()

    @property
    def uptime_s(self) -> float:
        return self._clock() - self._began_s

    async def start(self, ready: Callable[[], bool]) -> None:
        """Return once everything was ready and the shared port is joined."""
        while not ready():  # noqa: ASYNC110 (other threads make it ready)
            await asyncio.sleep(POLL_S)
        await self.join()
        if self.stage is Stage.STARTING:
            self.stage = Stage.SERVING
        self.pending = False
        self._started.set()

    async def started(self) -> None:
        """Return once the start is over, or has taken `start_wait_s`."""
        left_s = self._start_wait_s - self.uptime_s
        if left_s <= 0:
            self.pending = False
            return
        START_WAITS.inc()
        try:
            async with asyncio.timeout(left_s):
                await self._started.wait()
        except TimeoutError:
            self.pending = False

    def stop(self) -> None:
        self.stage = Stage.STOPPING
