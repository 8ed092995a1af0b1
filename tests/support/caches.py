"""Cache services of texts for tests, each as in a process of its own, on one event loop."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import msgspec

from pipeline.cache.cache import CacheService, Form, Namespace
from pipeline.runtime.settings import Settings
from pipeline.runtime.valkey import connect
from pipeline.topology.file import Cache
from pipeline.topology.loader import load

LIMITS = load(Settings.from_env({}).topology_file).cache
PATIENT = msgspec.structs.replace(LIMITS, valkey_timeout_ms=60_000)  # a slow machine is no failure
TEXT: Form[str] = Form(str.encode, bytes.decode, len)
GIVE_UP_S = 120.0  # a bound on a hang, not a promise


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Source:
    """What loads read; it counts them, and may fail or wait."""

    def __init__(self, value: str | None = "one") -> None:
        self.value = value
        self.loads = 0
        self.error: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self) -> str | None:
        self.loads += 1
        value = self.value
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return value


@asynccontextmanager
async def service(
    url: str,
    prefix: str,
    limits: Cache = PATIENT,
    clock: Callable[[], float] = time.monotonic,
    *,
    listening: bool = True,
) -> AsyncIterator[tuple[CacheService, Namespace[str]]]:
    one = CacheService(
        limits,
        partial(connect, url, limits.valkey_timeout_ms / 1000),
        prefix,
        clock,
        random.Random(1),
    )
    texts = one.namespace("quiz_pages", TEXT)
    if listening:
        one.start()
        await until(lambda: one.is_listening)
    try:
        yield one, texts
    finally:
        await one.close()


async def until(holds: Callable[[], Any]) -> float:
    """Wait for a condition; return how long it took, in seconds."""
    began_s = time.monotonic()
    async with asyncio.timeout(GIVE_UP_S):
        while True:
            held = holds()
            if asyncio.iscoroutine(held):
                held = await held
            if held:
                return time.monotonic() - began_s
            await asyncio.sleep(0.005)
