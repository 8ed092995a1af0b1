"""Names that resolve slowly occupy their tenant's share of the threads, and no more."""

from __future__ import annotations

import asyncio
import socket

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from sinks.outbound import metrics
from sinks.outbound.names import TENANT, SharedResolver


class Slow(AbstractResolver):
    """Resolves `quick.*` at once and other names when `go` is set."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.begun: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.begun.append(host)
        if not host.startswith("quick."):
            await self.go.wait()
        return []

    async def close(self) -> None:
        pass


def of(tenant_id: str, resolver: SharedResolver, host: str) -> asyncio.Task[list[ResolveResult]]:
    async def resolve() -> list[ResolveResult]:
        TENANT.set(tenant_id)
        return await resolver.resolve(host)

    return asyncio.create_task(resolve())


def test_a_tenant_with_slow_names_has_its_share_and_delays_no_other() -> None:
    async def run() -> None:
        inner = Slow()
        resolver = SharedResolver(inner, 3)
        slow = [of("acme", resolver, f"slow{n}.example.com") for n in range(10)]
        await asyncio.sleep(0)
        assert await of("umbrella", resolver, "quick.example.com") == []
        assert len(inner.begun) == 3 + 1
        assert metrics.RESOLVING._value.get() == 3
        inner.go.set()
        assert await asyncio.gather(*slow) == [[]] * 10
        assert metrics.RESOLVING._value.get() == 0
        assert not resolver._turns, "a tenant without calls is forgotten"

    asyncio.run(run())


def test_a_name_that_outlasts_its_call_counts_until_it_has_ended() -> None:
    async def run() -> None:
        inner = Slow()
        resolver = SharedResolver(inner, 1)
        first = of("acme", resolver, "slow.example.com")
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        second = of("acme", resolver, "quick.example.com")
        await asyncio.sleep(0.01)
        assert inner.begun == ["slow.example.com"], "its thread is still occupied"
        second.cancel()
        third = of("acme", resolver, "quick.example.com")
        inner.go.set()
        assert await third == []

    asyncio.run(run())
