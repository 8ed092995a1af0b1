"""The level in Valkey, which all processes share.

- An entry lives for its time of being fresh and then of being stale. Its age follows from the time that is
  left, so that no process compares its clock with that of another.
- Each write has an id. What was loaded is stored only if the id is still that from before the load: a value
  that was read before a deletion or a replacement is not stored after it. A deletion leaves an entry without
  a value, for longer than a load takes.
- The epoch of a namespace changes when all of it is invalidated; an entry of another epoch is stale.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from redis.exceptions import NoScriptError, RedisClusterException, RedisError

from pipeline.cache.breaker import Breaker

SCRIPT = Path(__file__).with_name("store.lua").read_text(encoding="utf-8")
SCRIPT_HASH = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()
WRITE_ID_BYTES = 8  # as in the script

T = TypeVar("T")


class Unavailable(Exception):
    """Valkey did not answer, or its circuit breaker is open. The message has the reason."""


class Envelope(msgspec.Struct, frozen=True, array_like=True):
    """What is stored of a value; `payload` None: it does not exist."""

    epoch: bytes
    payload: bytes | None
    stale_ms: int  # the part of the entry's life in which it is stale


class Read(msgspec.Struct, frozen=True):
    """`fresh_s` is not positive for an entry that is stale. `epoch` is the namespace's at the moment.

    `write_id`: of the entry's last write; empty if there is no entry. A deleted entry has no envelope.
    """

    epoch: bytes
    write_id: bytes
    envelope: Envelope | None
    fresh_s: float


class SharedLevel:
    """Every call ends within `timeout_s`, or raises Unavailable."""

    def __init__(
        self, connect: Callable[[], Any], prefix: str, timeout_s: float, deletion_s: float, breaker: Breaker
    ) -> None:
        self._connect = connect
        self._prefix = prefix
        self._timeout_s = timeout_s
        self._deletion_ms = int(deletion_s * 1000)
        self._breaker = breaker
        self._client: Any = None  # belongs to the event loop on which it is first used
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Envelope).decode

    @property
    def channel(self) -> str:
        return f"{self._prefix}invalidations"

    async def read(self, namespace: str, key: str) -> Read:
        entry = self._entry(namespace, key)
        pipeline = self._connected().pipeline(transaction=False)
        pipeline.get(self._epoch(namespace))
        pipeline.get(entry)
        pipeline.pttl(entry)
        epoch, content, left_ms = await self._call(pipeline.execute)
        epoch = epoch or b""
        if content is None:
            return Read(epoch, b"", None, 0.0)
        write_id, stored = content[:WRITE_ID_BYTES], content[WRITE_ID_BYTES:]
        try:
            envelope = self._decode(stored)
        except msgspec.MsgspecError:  # deleted, or of another version of this code
            return Read(epoch, write_id, None, 0.0)
        fresh_s = (left_ms - envelope.stale_ms) / 1000 if envelope.epoch == epoch else 0.0
        return Read(epoch, write_id, envelope, fresh_s)

    async def store(
        self, namespace: str, key: str, envelope: Envelope, life_s: float, write_id: bytes
    ) -> bool:
        """Store what was loaded; return whether it is stored: not if `write_id` is not the last one."""
        content = self._written(self._encode(envelope))
        arguments = (self._entry(namespace, key), content, int(life_s * 1000), write_id)
        client = self._connected()
        try:
            stored = await self._call(lambda: client.evalsha(SCRIPT_HASH, 1, *arguments))
        except _UnknownScript:
            stored = await self._call(lambda: client.eval(SCRIPT, 1, *arguments))
        return bool(stored)

    async def replace(
        self, namespace: str, key: str, payload: bytes | None, life_s: float, stale_s: float
    ) -> None:
        """Store a value that is newer than all others."""
        client = self._connected()
        epoch = await self._call(lambda: client.get(self._epoch(namespace)))
        content = self._written(self._encode(Envelope(epoch or b"", payload, int(stale_s * 1000))))
        await self._call(lambda: client.set(self._entry(namespace, key), content, px=int(life_s * 1000)))

    async def delete(self, namespace: str, key: str) -> None:
        client = self._connected()
        content = self._written(b"")
        await self._call(lambda: client.set(self._entry(namespace, key), content, px=self._deletion_ms))

    async def begin_epoch(self, namespace: str, epoch: bytes, life_s: float) -> None:
        """Make every entry of the namespace stale. `life_s`: longer than that of each."""
        client = self._connected()
        await self._call(lambda: client.set(self._epoch(namespace), epoch, px=int(life_s * 1000)))

    async def publish(self, message: bytes) -> None:
        client = self._connected()
        await self._call(lambda: client.publish(self.channel, message))

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    @staticmethod
    def _written(stored: bytes) -> bytes:
        return secrets.token_bytes(WRITE_ID_BYTES) + stored

    def _connected(self) -> Any:
        if self._client is None:
            self._client = self._connect()
        return self._client

    def _entry(self, namespace: str, key: str) -> str:
        return f"{self._prefix}{namespace}:{key}"

    def _epoch(self, namespace: str) -> str:
        return f"{self._prefix}epoch:{namespace}"

    async def _call(self, command: Callable[[], Awaitable[T]]) -> T:
        if not self._breaker.admits():
            raise Unavailable("its circuit breaker is open")
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await command()
        except NoScriptError:
            self._breaker.succeeded()
            raise _UnknownScript from None
        except (RedisError, RedisClusterException, OSError, TimeoutError) as error:
            self._breaker.failed()
            raise Unavailable(f"{type(error).__name__}: {error}".rstrip(": ")) from error
        except BaseException:
            self._breaker.withdrawn()
            raise
        self._breaker.succeeded()
        return answer


class _UnknownScript(Exception):
    """Valkey was restarted, or another server took over."""
