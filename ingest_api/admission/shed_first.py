"""A handler around a handler: answers 503 while the room is needed for what is worth more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from prometheus_client import Counter
from starlette.types import Message

from ingest_api.admission.concurrency import ConcurrencyLimit, State
from ingest_api.http.problems import OVERLOADED, Problem
from ingest_api.http.reply import Receive, Reply, Scope

Handler = Callable[[Scope, Receive], Awaitable[Reply]]

RETRY_MIN_S, RETRY_MAX_S = 10, 30  # clients that were rejected together do not come again together


class ShedFirst:
    """Rejects before the limit of completions is reached, and all while it sheds completions.

    Its requests take no place of theirs: the limit never rejects a completion because of them.
    """

    def __init__(
        self,
        handle: Handler,
        limit: ConcurrencyLimit,
        ratio_max: float,
        uniform: Callable[[], float],
        shed: Counter,
    ) -> None:
        """`ratio_max`: of the limit, that both together may use; `uniform`: random numbers of [0, 1)."""
        self._handle = handle
        self._limit = limit
        self._ratio_max = ratio_max
        self._uniform = uniform
        self._shed = shed
        self._in_work = 0

    async def __call__(self, scope: Scope, receive: Receive) -> Reply:
        if scope["method"] == "OPTIONS":
            return await self._handle(scope, receive)
        limit = self._limit
        if limit.state is State.SHEDDING or limit.in_work + self._in_work >= limit.limit * self._ratio_max:
            self._shed.inc()
            return self._rejection()

        async def received() -> Message:
            # A client that sends its body slowly takes no place from others.
            self._in_work -= 1
            try:
                return await receive()
            finally:
                self._in_work += 1

        self._in_work += 1
        try:
            return await self._handle(scope, received)
        finally:
            self._in_work -= 1

    def _rejection(self) -> Reply:
        after_s = RETRY_MIN_S + self._uniform() * (RETRY_MAX_S - RETRY_MIN_S)
        detail = "this server keeps its room for completions; what is missed here is not needed"
        return Problem(OVERLOADED, detail, retry_after_s=after_s).reply()
