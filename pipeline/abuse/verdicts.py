"""Verdicts in Valkey, where all edge processes and the operators' commands read and write them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from redis.exceptions import NoScriptError, RedisClusterException, RedisError

from pipeline.abuse.states import Cause, Verdict
from pipeline.topology.file import Abuse

PUT = Path(__file__).with_name("put_verdict.lua").read_text(encoding="utf-8")
ANY = b"*"

T = TypeVar("T")
encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Verdict).decode


class TooMany(Exception):
    """Operators have decided as many verdicts as are kept."""


class Unavailable(Exception):
    """Valkey did not answer. The message has the reason."""


def decoded(record: bytes) -> Verdict | None:
    """None for a record of another version of this code."""
    try:
        return _decode(record)
    except (msgspec.MsgspecError, ValueError):
        return None


def prefix_of(namespace: str) -> str:
    return f"{{{namespace}abuse}}:"


class Verdicts:
    """Every call ends within `timeout_s`, or raises Unavailable. All of it runs on one event loop."""

    def __init__(self, connect: Callable[[], Any], namespace: str, limits: Abuse, timeout_s: float) -> None:
        self._connect = connect
        self._limits = limits
        self._timeout_s = timeout_s
        self.prefix = prefix_of(namespace)
        self._client: Any = None  # belongs to the event loop on which it is first used

    async def put(
        self, verdict: Verdict, before: Verdict | None, now_ms: int, *, force: bool = False
    ) -> bool:
        """Store it if the record is still `before` or is gone, or by `force`; return whether it is stored.

        Raises TooMany for a decision of an operator beyond verdicts_max.
        """
        life_ms = max(1, verdict.kept_until_ms(self._limits) - now_ms)
        expected = ANY if force else (b"" if before is None else encode(before))
        by_operator = int(verdict.cause is Cause.OPERATOR)
        most = self._limits.verdicts_max
        number = await self.run(PUT, verdict.subject, encode(verdict), life_ms, expected, most, by_operator)
        if number < 0:
            raise TooMany
        return bool(number)

    async def find(self, subject: str) -> Verdict | None:
        record = await self.call(lambda client: client.get(f"{self.prefix}v:{subject}"))
        return None if record is None else decoded(record)

    async def all(self) -> list[Verdict]:
        """Return every record that is kept, the last changed first."""
        subjects = await self.call(lambda client: client.zrevrange(f"{self.prefix}changes", 0, -1))
        if not subjects:
            return []
        keys = [f"{self.prefix}v:{subject.decode()}" for subject in subjects]
        records = await self.call(lambda client: client.mget(keys))
        found = (decoded(record) for record in records if record is not None)
        return [verdict for verdict in found if verdict is not None]

    async def run(self, script: str, *arguments: Any) -> Any:
        """Run a script with the prefix as its key."""
        digest = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
        try:
            return await self.call(lambda client: client.evalsha(digest, 1, self.prefix, *arguments))
        except NoScriptError:
            return await self.call(lambda client: client.eval(script, 1, self.prefix, *arguments))

    async def call(self, command: Callable[[Any], Awaitable[T]]) -> T:
        """Raises Unavailable, and NoScriptError."""
        if self._client is None:
            self._client = self._connect()
        try:
            async with asyncio.timeout(self._timeout_s):
                return await command(self._client)
        except NoScriptError:
            raise
        except (RedisError, RedisClusterException, OSError, TimeoutError) as error:
            raise Unavailable(f"{type(error).__name__}: {error}".rstrip(": ")) from error

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
