"""A handler around a handler: answers 503 at once where more is in work than can be answered in time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.types import Message

from ingest_api.admission.concurrency import ConcurrencyLimit
from ingest_api.admission.metrics import IN_WORK, IN_WORK_MAX, LOOP_DELAY_S, SHEDDING
from ingest_api.http.problems import OVERLOADED, Problem
from ingest_api.http.reply import Receive, Reply, Scope

Handler = Callable[[Scope, Receive], Awaitable[Reply]]

ACCEPTED = 202
RETRY_MIN_S, RETRY_MAX_S = 1, 4  # clients that were rejected together do not come again together


class Admitted:
    """Rejects before the body is read: a rejection costs a small part of what a completion costs."""

    def __init__(
        self, handle: Handler, limit: ConcurrencyLimit, adjust_s: float, uniform: Callable[[], float]
    ) -> None:
        """`uniform` returns random numbers of [0, 1)."""
        self._handle = handle
        self._limit = limit
        self._adjust_s = adjust_s
        self._uniform = uniform
        self._rejections = tuple(_rejection(after_s) for after_s in range(RETRY_MIN_S, RETRY_MAX_S + 1))
        self._next: asyncio.TimerHandle | None = None
        IN_WORK.set_function(lambda: limit.in_work)
        IN_WORK_MAX.set_function(lambda: limit.limit)
        SHEDDING.set_function(lambda: limit.state.value)

    async def __call__(self, scope: Scope, receive: Receive) -> Reply:
        if scope["method"] == "OPTIONS":
            return await self._handle(scope, receive)
        work = self._limit.begin()
        if work is None:
            return self._rejections[int(self._uniform() * len(self._rejections))]

        async def received() -> Message:
            # A client that sends its body slowly takes no place from others, and does not show an overload.
            since_s = work.client_sends()
            try:
                return await receive()
            finally:
                work.client_has_sent(since_s)

        accepted = False
        try:
            reply = await self._handle(scope, received)
            accepted = reply.status == ACCEPTED
            return reply
        finally:
            work.end(accepted=accepted)

    def start(self) -> None:
        """Begin to watch the event loop that runs."""
        self._plan(asyncio.get_running_loop())

    def close(self) -> None:
        if self._next is not None:
            self._next.cancel()

    def _plan(self, loop: asyncio.AbstractEventLoop) -> None:
        due_at_s = loop.time() + self._adjust_s
        self._next = loop.call_at(due_at_s, self._adjust, loop, due_at_s)

    def _adjust(self, loop: asyncio.AbstractEventLoop, due_at_s: float) -> None:
        delay_s = max(0.0, loop.time() - due_at_s)
        LOOP_DELAY_S.observe(delay_s)
        self._limit.adjust(delay_s)
        self._plan(loop)


def _rejection(after_s: int) -> Reply:
    return Problem(
        OVERLOADED, "more completions arrive than this server can answer in time", retry_after_s=after_s
    ).reply()
