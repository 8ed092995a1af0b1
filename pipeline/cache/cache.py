"""Namespaces of cached values: get, set, delete, invalidate, and remember, which loads what is missing."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Generic, TypeVar

import msgspec

from pipeline.cache.breaker import Breaker, State
from pipeline.cache.copies import Copies, Copy, Key
from pipeline.cache.listener import Listener
from pipeline.cache.metrics import (
    ANSWERS,
    BREAKER_STATE,
    FLUSHES,
    INVALIDATIONS,
    LOAD_SECONDS,
    LOADS_FAILED,
)
from pipeline.cache.shared import Envelope, SharedLevel, Unavailable
from pipeline.runtime.backoff import Backoff
from pipeline.runtime.ending import ended
from pipeline.topology.file import Cache as Limits
from pipeline.topology.file import CacheNamespace

log = logging.getLogger(__name__)

OWED_MAX = 1_000  # keys; beyond that the whole namespace is invalidated
TRIES_MAX = 2  # of `remember`, while loads return what is not accepted
VALKEY = "valkey"

V = TypeVar("V")
Load = Callable[[], Awaitable[V | None]]


@dataclass(frozen=True, slots=True)
class Found(Generic[V]):
    """`value` None: it does not exist. `stale`: it may have changed since; its source did not answer."""

    value: V | None
    stale: bool = False


@dataclass(frozen=True, slots=True)
class Use:
    """Of one namespace since the process began. `hits`: answers from a fresh copy, here or in Valkey."""

    hits: int
    misses: int
    breaker: State  # before the source


class Unusable(Exception):
    """Raised by a load: its source answered, but this value cannot be used. The message has the reason."""


class NoCopy(Exception):
    """The source of a value failed, and there is no copy. The message has the reason."""


@dataclass(frozen=True)
class Form(Generic[V]):
    """How the values of a namespace are stored. `decode` raises ValueError for bytes that it cannot read."""

    encode: Callable[[V], bytes]
    decode: Callable[[bytes], V]
    size_bytes: Callable[[V], int]


class Invalidation(msgspec.Struct, frozen=True, array_like=True):
    """`key` None: all of the namespace."""

    process: str
    namespace: str
    key: str | None


@dataclass(eq=False)
class _Flight:
    """One load that all who miss the value wait for."""

    outdated: bool = False  # an invalidation came after its begin: the value is not kept
    task: asyncio.Task[Any] = field(init=False)


class CacheService:
    """One for each process, on one event loop. `connect` makes a client of Valkey, which is used later."""

    def __init__(
        self,
        limits: Limits,
        connect: Callable[[], Any],
        prefix: str,
        clock: Callable[[], float],
        rng: random.Random,
    ) -> None:
        self.limits = limits
        self.clock = clock
        self.rng = rng
        self.copies = Copies(limits.local_entries_max, limits.local_bytes_max, clock)
        self._process = secrets.token_hex(8)
        self._namespaces: dict[str, Namespace[Any]] = {}
        self._owed: set[Key | str] = set()
        breaker = self.breaker(VALKEY)
        self.shared = SharedLevel(
            connect,
            prefix,
            timeout_s=limits.valkey_timeout_ms / 1000,
            deletion_s=2 * limits.breaker.timeout_s + 1,
            breaker=breaker,
        )
        self._listener = Listener(
            connect, self.shared.channel, self._on_message, self._on_connected, Backoff(0.05, 1.0, rng=rng)
        )
        self._decode = msgspec.msgpack.Decoder(Invalidation).decode

    def namespace(self, name: str, form: Form[V], version: str = "") -> Namespace[V]:
        """Return the namespace of that name in the topology. Values of another `version` are not read."""
        made = Namespace(self, name, self.limits.namespaces.of(name), form, version)
        self._namespaces[name] = made
        return made

    def breaker(self, before: str) -> Breaker:
        made = Breaker(self.limits.breaker, self.clock)
        BREAKER_STATE.labels(before).set_function(lambda: made.state.value)
        return made

    @property
    def is_listening(self) -> bool:
        """Whether this process receives the invalidations of others."""
        return self._listener.connected

    def uses(self) -> dict[str, Use]:
        """Return the use of each namespace."""
        return {name: namespace.use for name, namespace in self._namespaces.items()}

    def start(self) -> None:
        self._listener.start()

    async def close(self) -> None:
        await self._listener.close()
        for namespace in self._namespaces.values():
            await namespace.close()
        await self.shared.close()

    async def announce(self, namespace: str, key: str | None) -> bool:
        """Invalidate it in Valkey and in every process; what Valkey cannot take now it gets later.

        Returns whether Valkey has it.
        """
        try:
            if key is None:
                await self.shared.begin_epoch(
                    namespace, secrets.token_bytes(8), self.limits.namespaces.of(namespace).life_s
                )
            else:
                await self.shared.delete(namespace, key)
            await self.publish(namespace, key)
        except Unavailable as error:
            self._owe(namespace, key)
            log.warning("cache: %s is invalidated here only, and elsewhere later: %s", namespace, error)
            return False
        return True

    async def publish(self, namespace: str, key: str | None) -> None:
        message = msgspec.msgpack.encode(Invalidation(self._process, namespace, key))
        await self.shared.publish(message)

    def _owe(self, namespace: str, key: str | None) -> None:
        if key is None or len(self._owed) >= OWED_MAX:
            self._owed = {owed for owed in self._owed if isinstance(owed, str) or owed[0] != namespace}
            self._owed.add(namespace)
        else:
            self._owed.add((namespace, key))

    def _on_message(self, data: bytes) -> None:
        try:
            message = self._decode(data)
        except msgspec.MsgspecError:
            log.warning("cache: an invalidation cannot be decoded; all copies of this process are stale now")
            self._flush()
            return
        namespace = self._namespaces.get(message.namespace)
        if namespace is None or message.process == self._process:
            return
        INVALIDATIONS.labels(message.namespace).inc()
        namespace.expire_stored(message.key)

    async def _on_connected(self) -> None:
        self._flush()
        owed, self._owed = self._owed, set()
        for one in owed:
            if isinstance(one, str):
                await self.announce(one, None)
            else:
                await self.announce(*one)

    def _flush(self) -> None:
        FLUSHES.inc()
        for namespace in self._namespaces.values():
            namespace.expire_here(None)


class Namespace(Generic[V]):
    """Values of one kind, by key."""

    def __init__(
        self, service: CacheService, name: str, limits: CacheNamespace, form: Form[V], version: str
    ) -> None:
        self._service = service
        self._copies = service.copies
        self._shared = service.shared
        self._name = name
        self._limits = limits
        self._form = form
        self._version = f"{version}:" if version else ""
        self._breaker = service.breaker(name)
        self._flights: dict[str, _Flight] = {}
        self._expired = 0  # invalidations so far
        self._running: set[asyncio.Future[Any]] = set()
        self._by_level = {
            level: ANSWERS.labels(name, level) for level in ("process", VALKEY, "source", "stale", "failed")
        }
        LOADS_FAILED.labels(name)

    @property
    def use(self) -> Use:
        counts = {level: int(counter._value.get()) for level, counter in self._by_level.items()}
        hits = counts["process"] + counts[VALKEY]
        return Use(hits, sum(counts.values()) - hits, self._breaker.state)

    async def remember(
        self, key: str, load: Load[V], accept: Callable[[V | None], bool] = lambda _value: True
    ) -> Found[V]:
        """Return the value from the nearest level that has it fresh, else from `load`.

        - `load` returns None for a value that does not exist. However many miss the value, one load runs.
        - A copy that `accept` rejects counts as stale: the caller has a newer version than that.
        - A stale copy is returned if the load fails, or takes longer than `patience_ms`.

        Raises NoCopy.
        """
        stale: Copy | None = None
        reason = "the source returned an older version"
        for _ in range(TRIES_MAX):
            copy = self._copies.get(self._key(key))
            if copy is not None:
                if self._copies.is_fresh(copy) and accept(copy.value):
                    self._by_level["process"].inc()
                    return Found(copy.value)
                if copy.value is not None:
                    stale = copy
            patience_s = None if stale is None else self._service.limits.patience_ms / 1000
            outcome = await self._outcome(self._flight(key, load, accept), patience_s)
            if isinstance(outcome, _Loaded):
                if accept(outcome.value):
                    self._by_level[outcome.level].inc()
                    return Found(outcome.value)
            elif outcome is None:
                break  # too slow
            else:
                reason = outcome.reason
                stale = outcome.stale or stale
                break
        if stale is not None:
            self._by_level["stale"].inc()
            return Found(stale.value, stale=True)
        self._by_level["failed"].inc()
        raise NoCopy(reason)

    async def get(self, key: str) -> Found[V] | None:
        """Return a fresh value, or None if no level has it."""
        copy = self._copies.get(self._key(key))
        if copy is not None and self._copies.is_fresh(copy):
            self._by_level["process"].inc()
            return Found(copy.value)
        expired = self._expired
        try:
            read = await self._shared.read(self._name, self._version + key)
        except Unavailable:
            return None
        if read.envelope is None or read.fresh_s <= 0:
            return None
        try:
            found = self._copy_of(read.envelope, read.fresh_s)
        except ValueError:
            return None
        if expired == self._expired:  # no invalidation came between Valkey's answer and here
            self._copies.put(self._key(key), found)
        self._by_level[VALKEY].inc()
        return Found(found.value)

    async def set(self, key: str, value: V | None) -> bool:
        """Replace the value at every level; other processes read it again.

        Returns whether Valkey has it. If not, Valkey gets a deletion as soon as it answers.
        """
        self.expire_here(key)
        fresh_s, stale_s = self._times(value)
        payload = None if value is None else self._form.encode(value)
        self._keep(key, value, fresh_s)
        stored_key = self._version + key
        try:
            await self._shared.replace(self._name, stored_key, payload, fresh_s + stale_s, stale_s)
            await self._service.publish(self._name, stored_key)
        except Unavailable:
            return await self._service.announce(self._name, stored_key)
        return True

    async def delete(self, key: str) -> bool:
        """Make the value stale in every process within a second; returns whether Valkey has the deletion."""
        self.expire_here(key)
        return await self._service.announce(self._name, self._version + key)

    async def invalidate(self) -> bool:
        """Make all values stale in every process within a second; returns whether Valkey has that."""
        self.expire_here(None)
        return await self._service.announce(self._name, None)

    def expire_here(self, key: str | None) -> None:
        """Make one copy of this process stale, or all. A load that is running does not count as fresh."""
        self._expired += 1
        if key is None:
            self._copies.expire_all(self._name)
            outdated = list(self._flights.values())
            self._flights.clear()
        else:
            self._copies.expire(self._key(key))
            flight = self._flights.pop(key, None)
            outdated = [] if flight is None else [flight]
        for one in outdated:
            one.outdated = True

    def expire_stored(self, stored_key: str | None) -> None:
        """`expire_here` by the key in Valkey, which has the version of the values."""
        if stored_key is None:
            self.expire_here(None)
        elif stored_key.startswith(self._version):
            self.expire_here(stored_key.removeprefix(self._version))

    async def close(self) -> None:
        await ended(self._running)

    def _key(self, key: str) -> Key:
        return (self._name, key)

    def _times(self, value: V | None) -> tuple[float, float]:
        """Return how long a value is fresh, and then stale. Not all values expire together."""
        limits, jitter = self._limits, self._service.limits.jitter_ratio * self._service.rng.random()
        if value is None:
            return limits.absent_ttl_s * (1 - jitter), 0.0
        return limits.ttl_s * (1 - jitter), float(limits.stale_s)

    def _keep(self, key: str, value: V | None, fresh_s: float) -> Copy:
        now_s = self._service.clock()
        size = 0 if value is None else self._form.size_bytes(value)
        stale_s = 0.0 if value is None else self._limits.stale_s
        copy = Copy(value, size, now_s + fresh_s, now_s + max(fresh_s, 0.0) + stale_s)
        self._copies.put(self._key(key), copy)
        return copy

    def _copy_of(self, envelope: Envelope, fresh_s: float) -> Copy:
        """Raises ValueError."""
        now_s = self._service.clock()
        payload = envelope.payload
        value = None if payload is None else self._form.decode(payload)
        size = 0 if value is None else self._form.size_bytes(value)
        return Copy(value, size, now_s + fresh_s, now_s + max(fresh_s, 0.0) + envelope.stale_ms / 1000)

    def _flight(self, key: str, load: Load[V], accept: Callable[[V | None], bool]) -> _Flight:
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight()
            flight.task = asyncio.get_running_loop().create_task(self._fly(key, load, accept, flight))
            self._running.add(flight.task)
            flight.task.add_done_callback(self._running.discard)
        return flight

    async def _outcome(self, flight: _Flight, patience_s: float | None) -> _Loaded | _Failed | None:
        """Return None if it takes longer than the patience; the load continues."""
        done, _ = await asyncio.wait({flight.task}, timeout=patience_s)
        if not done:
            return None
        return _Failed("the load was cancelled", None) if flight.task.cancelled() else flight.task.result()

    async def _fly(
        self, key: str, load: Load[V], accept: Callable[[V | None], bool], flight: _Flight
    ) -> _Loaded | _Failed:
        try:
            return await self._fetch(key, load, accept, flight)
        finally:
            if self._flights.get(key) is flight:
                del self._flights[key]

    async def _fetch(
        self, key: str, load: Load[V], accept: Callable[[V | None], bool], flight: _Flight
    ) -> _Loaded | _Failed:
        stale: Copy | None = None
        try:
            read = await self._shared.read(self._name, self._version + key)
        except Unavailable:
            read = None
        if read is not None and read.envelope is not None:
            try:
                copy = self._copy_of(read.envelope, read.fresh_s)
            except ValueError:
                copy = None
            if copy is not None and read.fresh_s > 0 and accept(copy.value) and not flight.outdated:
                self._copies.put(self._key(key), copy)
                return _Loaded(copy.value, VALKEY)
            if copy is not None and copy.value is not None:
                stale = copy
        try:
            value = await self._loaded(load)
        except _LoadFailed as error:
            if stale is not None and self._copies.get(self._key(key)) is None:
                self._copies.put(self._key(key), stale)
                self._copies.expire(self._key(key))
            return _Failed(str(error), stale)
        fresh_s, stale_s = self._times(value)
        if flight.outdated:
            return _Loaded(value, "source")
        self._keep(key, value, fresh_s)
        if read is not None:
            payload = None if value is None else self._form.encode(value)
            envelope = Envelope(read.epoch, payload, int(stale_s * 1000))
            try:
                stored = await self._shared.store(
                    self._name, self._version + key, envelope, fresh_s + stale_s, read.write_id
                )
            except Unavailable:
                return _Loaded(value, "source")
            if not stored:
                self._copies.expire(self._key(key))  # changed while it was being loaded
        return _Loaded(value, "source")

    async def _loaded(self, load: Load[V]) -> V | None:
        """Raises _LoadFailed."""
        if not self._breaker.admits():
            raise _LoadFailed("the circuit breaker before its source is open")
        began_s = perf_counter()
        task = asyncio.ensure_future(load())
        self._running.add(task)
        task.add_done_callback(self._ended)
        try:
            done, _ = await asyncio.wait({task}, timeout=self._service.limits.breaker.timeout_s)
        except asyncio.CancelledError:
            task.cancel()
            self._breaker.withdrawn()
            raise
        LOAD_SECONDS.labels(self._name).observe(perf_counter() - began_s)
        if not done:
            task.cancel()  # it may take a while to end: a client of a database cancels its query there first
        elif not task.cancelled() and task.exception() is None:
            self._breaker.succeeded()
            return task.result()
        error = None if task.cancelled() or not done else task.exception()
        reason = "TimeoutError" if error is None else type(error).__name__
        if isinstance(error, Unusable):
            self._breaker.succeeded()  # one bad value says nothing of the others
        else:
            self._breaker.failed()
        LOADS_FAILED.labels(self._name).inc()
        log.warning("cache: a value of %s could not be loaded (%s)", self._name, reason)
        raise _LoadFailed(f"its source failed ({reason})") from error

    def _ended(self, task: asyncio.Future[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # read, so that a load that nothing waits for any more is not reported


@dataclass(frozen=True, slots=True)
class _Loaded:
    value: Any
    level: str


@dataclass(frozen=True, slots=True)
class _Failed:
    reason: str
    stale: Copy | None


class _LoadFailed(Exception):
    pass
