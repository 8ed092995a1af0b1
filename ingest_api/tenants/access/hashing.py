"""Hashes passwords in a few threads: a flood of them takes neither the event loop nor the memory."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from ingest_api.http.problems import OVERLOADED, rejection
from ingest_api.tenants.access.metrics import HASHING, HASHING_REJECTED, HASHING_SECONDS
from pipeline.topology.file import Hashing as Limits
from sinks.postgres.catalogue.users import passwords

RETRY_AFTER_S = 2.0


class Hashing:
    """For the event loop's thread."""

    def __init__(self, limits: Limits) -> None:
        self._room = limits.threads + limits.waiting_max
        self._in_work = 0
        self._threads = ThreadPoolExecutor(limits.threads, thread_name_prefix="hashing")

    async def hash_of(self, password: str) -> str:
        """Return `passwords.hash_of`. Raises Rejection where `waiting_max` passwords wait already."""
        if self._in_work >= self._room:
            HASHING_REJECTED.inc()
            raise rejection(OVERLOADED, "too many passwords wait", retry_after_s=RETRY_AFTER_S)
        self._in_work += 1
        HASHING.set(self._in_work)
        try:
            with HASHING_SECONDS.time():
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._threads, passwords.hash_of, password)
        finally:
            self._in_work -= 1
            HASHING.set(self._in_work)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
