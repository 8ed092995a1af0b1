"""Processes, a source and a Valkey in any order of events: no fresh answer is older than its invalidation."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from pipeline.cache.cache import CacheService, Found, Namespace, NoCopy
from pipeline.cache.shared import Envelope, Read, Unavailable
from tests.support.caches import LIMITS, TEXT, Clock

PROCESSES = 3
KEYS = ("a", "b")
PROCESS = st.integers(0, PROCESSES - 1)
KEY = st.sampled_from(KEYS)
QUICK = msgspec.structs.replace(LIMITS, patience_ms=0)


class MemoryLevel:
    """The level in Valkey as one dictionary for all processes: it may be unavailable."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.entries: dict[tuple[str, str], tuple[bytes, Envelope | None, float]] = {}
        self._writes = 0
        self.epochs: dict[str, bytes] = {}
        self.available = True
        self.receivers: list[CacheService] = []
        self.deletion_s = 7.0

    def _require(self) -> None:
        if not self.available:
            raise Unavailable("it is off")

    async def read(self, namespace: str, key: str) -> Read:
        self._require()
        epoch = self.epochs.get(namespace, b"")
        write_id, entry, until_s = self._entry(namespace, key)
        if entry is None:
            return Read(epoch, write_id, None, 0.0)
        left_s = until_s - self._clock() - entry.stale_ms / 1000
        return Read(epoch, write_id, entry, left_s if entry.epoch == epoch else 0.0)

    def _entry(self, namespace: str, key: str) -> tuple[bytes, Envelope | None, float]:
        found = self.entries.get((namespace, key))
        return found if found is not None and found[2] > self._clock() else (b"", None, 0.0)

    def _write(self, namespace: str, key: str, envelope: Envelope | None, life_s: float) -> None:
        self._writes += 1
        self.entries[namespace, key] = (str(self._writes).encode(), envelope, self._clock() + life_s)

    async def store(
        self, namespace: str, key: str, envelope: Envelope, life_s: float, write_id: bytes
    ) -> bool:
        self._require()
        if self._entry(namespace, key)[0] != write_id:
            return False
        self._write(namespace, key, envelope, life_s)
        return True

    async def replace(
        self, namespace: str, key: str, payload: bytes | None, life_s: float, stale_s: float
    ) -> None:
        self._require()
        envelope = Envelope(self.epochs.get(namespace, b""), payload, int(stale_s * 1000))
        self._write(namespace, key, envelope, life_s)

    async def delete(self, namespace: str, key: str) -> None:
        self._require()
        self._write(namespace, key, None, self.deletion_s)

    async def begin_epoch(self, namespace: str, epoch: bytes, life_s: float) -> None:
        self._require()
        self.epochs[namespace] = epoch

    async def publish(self, message: bytes) -> None:
        self._require()
        for receiver in self.receivers:
            receiver._on_message(message)

    async def close(self) -> None:
        pass


class Coherence(RuleBasedStateMachine):
    """Values are numbers that only grow. `floor`: what a fresh answer has at least."""

    pending = Bundle("pending")

    @initialize()
    def begin(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.clock = Clock()
        self.level = MemoryLevel(self.clock)
        self.newest = 0
        self.source_works = True
        self.floor = dict.fromkeys(KEYS, 0)
        self.gates: list[tuple[asyncio.Event, asyncio.Task[Any], int]] = []
        self.namespaces: list[Namespace[str]] = []
        self.services: list[CacheService] = []
        for number in range(PROCESSES):
            one = CacheService(QUICK, lambda: None, "", self.clock, random.Random(number))
            one.shared = self.level  # type: ignore[assignment]
            self.services.append(one)
            self.namespaces.append(one.namespace("quiz_pages", TEXT))
            self.level.receivers.append(one)

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            for _ in range(len(self.gates)):
                self.end_a_slow_load()
            for namespace in self.namespaces:
                self.run(namespace.close())
            self.loop.close()

    def run(self, awaitable: Any) -> Any:
        return self.loop.run_until_complete(awaitable)

    async def load(self) -> str:
        if not self.source_works:
            raise RuntimeError("unavailable")
        return str(self.newest)

    @rule(at=PROCESS, key=KEY)
    def remember(self, at: int, key: str) -> None:
        try:
            found: Found[str] = self.run(self.namespaces[at].remember(key, self.load))
        except NoCopy:
            return
        assert found.value is not None
        assert int(found.value) <= self.newest
        if not found.stale:
            assert int(found.value) >= self.floor[key], f"process {at} has {found.value} of {key} as fresh"

    @rule(at=PROCESS, key=KEY)
    def get(self, at: int, key: str) -> None:
        found = self.run(self.namespaces[at].get(key))
        if found is not None:
            assert int(found.value) >= self.floor[key]

    @rule(at=PROCESS, key=KEY)
    def begin_a_slow_load(self, at: int, key: str) -> None:
        """It reads the value now, and returns it at some later step."""
        gate, value = asyncio.Event(), str(self.newest)

        async def slow() -> str:
            await gate.wait()
            return value

        async def begin() -> asyncio.Task[Any]:
            task = asyncio.create_task(self.namespaces[at].remember(key, slow))
            for _ in range(6):
                await asyncio.sleep(0)
            return task

        self.gates.append((gate, self.run(begin()), self.newest))

    @precondition(lambda self: self.gates)
    @rule()
    def a_slow_load_ends(self) -> None:
        self.end_a_slow_load()

    def end_a_slow_load(self) -> None:
        gate, task, _at = self.gates.pop(0)
        gate.set()
        found = self.run(asyncio.gather(task, return_exceptions=True))[0]
        assert isinstance(found, (Found, NoCopy))

    @precondition(lambda self: self.level.available)
    @rule(at=PROCESS, key=KEY)
    def change_and_delete(self, at: int, key: str) -> None:
        self.newest += 1
        assert self.run(self.namespaces[at].delete(key))
        self.floor[key] = self.newest

    @precondition(lambda self: self.level.available)
    @rule(at=PROCESS, key=KEY)
    def change_and_set(self, at: int, key: str) -> None:
        self.newest += 1
        assert self.run(self.namespaces[at].set(key, str(self.newest)))
        self.floor[key] = self.newest

    @precondition(lambda self: self.level.available)
    @rule(at=PROCESS)
    def change_and_invalidate(self, at: int) -> None:
        self.newest += 1
        assert self.run(self.namespaces[at].invalidate())
        self.floor = dict.fromkeys(KEYS, self.newest)

    @rule(works=st.booleans())
    def source(self, works: bool) -> None:
        self.source_works = works

    @rule()
    def valkey_ends(self) -> None:
        self.level.available = False

    @rule()
    def valkey_is_there_again(self) -> None:
        """As after a lost connection: every process makes its copies stale."""
        if not self.level.available:
            self.level.available = True
            for one in self.services:
                self.run(one._on_connected())

    @rule(seconds=st.sampled_from([1.0, 31.0, 3000.0]))
    def time_passes(self, seconds: float) -> None:
        if not self.gates:  # a deletion is remembered for longer than a load may take
            self.clock.now_s += seconds

    @invariant()
    def memory_is_bounded(self) -> None:
        for one in getattr(self, "services", []):
            assert len(one.copies) <= len(KEYS)


TestCoherence = Coherence.TestCase
TestCoherence.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
