"""Resolves names for calls: each tenant has its share of the threads, which a slow name server occupies."""

from __future__ import annotations

import asyncio
import socket
from collections import defaultdict
from contextvars import ContextVar

from aiohttp.abc import AbstractResolver, ResolveResult

from sinks.outbound import metrics

TENANT: ContextVar[str] = ContextVar("tenant", default="")
"""Whose call resolves a name."""


class SharedResolver(AbstractResolver):
    """At most `of_tenant_max` names of a tenant are resolved at once; further calls wait for their turn.

    The system's resolver cannot be interrupted: a name that outlasts its call counts until it has ended.
    """

    def __init__(self, inner: AbstractResolver, of_tenant_max: int) -> None:
        self._inner = inner
        self._turns: defaultdict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(of_tenant_max)
        )
        self._using: defaultdict[str, int] = defaultdict(int)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        tenant_id = TENANT.get()
        turns = self._turns[tenant_id]
        self._using[tenant_id] += 1
        if turns.locked():
            metrics.RESOLVING_FULL.inc()
        try:
            await turns.acquire()
        except BaseException:
            self._leave(tenant_id)
            raise
        metrics.RESOLVING.inc()
        work = asyncio.ensure_future(self._inner.resolve(host, port, family))

        def ended(done: asyncio.Future[list[ResolveResult]]) -> None:
            turns.release()
            metrics.RESOLVING.dec()
            self._leave(tenant_id)
            if not done.cancelled():
                done.exception()  # retrieved: its call may have ended

        work.add_done_callback(ended)
        return await asyncio.shield(work)

    async def close(self) -> None:
        await self._inner.close()

    def _leave(self, tenant_id: str) -> None:
        self._using[tenant_id] -= 1
        if self._using[tenant_id] == 0:
            del self._using[tenant_id], self._turns[tenant_id]
