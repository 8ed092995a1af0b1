"""Sliding windows in Valkey, the same for all edge processes.

Requests are gathered for a moment, and one script decides all of them in one round trip.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec
from redis.exceptions import NoScriptError, RedisClusterException, RedisError

from ingest_api.limits.windows import Decision, Keys, Rule

SCRIPT = Path(__file__).with_name("sliding_windows.lua").read_text(encoding="utf-8")
SCRIPT_HASH = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()
BATCH_MAX = 256  # requests of one call, during which Valkey serves no other client
EDGE_EXPIRES_S = 10
# Returns the number of processes that have reported within EDGE_EXPIRES_S, this one included.
REPORT = """
local now = tonumber(redis.call('TIME')[1])
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[2])
return redis.call('ZCARD', KEYS[1])
"""


class Unavailable(Exception):
    """Valkey did not decide. The requests may have been counted."""


class Client(Protocol):
    """The part of redis.asyncio's clients that is used here."""

    def evalsha(self, sha: str, numkeys: int, *keys_and_args: Any) -> Any: ...
    def eval(self, script: str, numkeys: int, *keys_and_args: Any) -> Any: ...
    def aclose(self) -> Any: ...


Waiting = tuple[Keys, "asyncio.Future[Decision]"]
_WireRule = tuple[str, int, int]
_Group = tuple[int | str, ...]  # what requests with the same keys have in common, in the script's form
_Decisions = tuple[float, list[list[int]]]


class SharedWindows:
    """Decides within `timeout_s` or raises Unavailable. All of it runs on one event loop."""

    def __init__(
        self,
        connect: Callable[[], Client],
        rules: Sequence[Rule],
        prefix: str,
        *,
        gather_s: float,
        timeout_s: float,
        process: str,
    ) -> None:
        self._connect = connect
        self._rules = tuple(rules)
        self._numbers = {id(rule): number for number, rule in enumerate(self._rules, 1)}
        self._wire_rules = [_wire(rule) for rule in rules]
        self._prefix = f"{{{prefix}limits}}:"
        self._gather_s = gather_s
        self._timeout_s = timeout_s
        self._process = process
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode: Callable[[bytes], _Decisions] = msgspec.msgpack.Decoder(_Decisions).decode
        self._client: Client | None = None  # belongs to the event loop on which it is first used
        self._waiting: list[Waiting] = []
        self._sending: asyncio.TimerHandle | None = None
        self._next_s = 0.0
        self._calls: set[asyncio.Task[None]] = set()

    async def decide(self, keys: Keys) -> Decision:
        """Return the decision. Raises Unavailable."""
        loop = asyncio.get_running_loop()
        decided: asyncio.Future[Decision] = loop.create_future()
        self._waiting.append((keys, decided))
        if self._sending is None:
            self._sending = loop.call_at(max(self._next_s, loop.time()), self._send, loop)
        return await decided

    async def report(self) -> int:
        """Tell the other processes that this one runs; return how many run. Raises Unavailable."""
        try:
            if self._client is None:
                self._client = self._connect()
            async with asyncio.timeout(self._timeout_s):
                count = await self._client.eval(
                    REPORT, 1, f"{self._prefix}edges", self._process, EDGE_EXPIRES_S
                )
        except (RedisError, RedisClusterException, OSError, TimeoutError) as error:
            raise Unavailable(_reason(error)) from error
        return int(count)

    async def close(self) -> None:
        for call in self._calls:
            call.cancel()
        if self._client is not None:
            await self._client.aclose()

    def _send(self, loop: asyncio.AbstractEventLoop) -> None:
        self._sending = None
        self._next_s = loop.time() + self._gather_s
        waiting, self._waiting = self._waiting, []
        for first in range(0, len(waiting), BATCH_MAX):
            call = loop.create_task(self._call(waiting[first : first + BATCH_MAX]))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)

    async def _call(self, batch: list[Waiting]) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                _now_ms, decisions = await self.run_script([keys for keys, _decided in batch])
        except (RedisError, RedisClusterException, OSError, TimeoutError, msgspec.MsgspecError) as error:
            for _keys, decided in batch:
                if not decided.done():
                    decided.set_exception(Unavailable(_reason(error)))
            return
        for (_keys, decided), decision in zip(batch, decisions, strict=True):
            if not decided.done():
                decided.set_result(decision)

    async def run_script(self, requests: Sequence[Keys], *now_ms: int) -> tuple[float, list[Decision]]:
        """Return Valkey's time in ms and the decisions. Tests set the time. Raises what the client raises."""
        if self._client is None:
            self._client = self._connect()
        rules, wire_rules, numbers = self._rules_of(requests)
        groups: dict[_Group, list[int]] = {}
        for place, keys in enumerate(requests):
            group = tuple([part for rule, key in keys for part in (numbers[id(rule)], key)])
            groups.setdefault(group, []).append(place)
        work = self._encode((wire_rules, [(len(places), *group) for group, places in groups.items()]))
        try:
            answer = await self._client.evalsha(SCRIPT_HASH, 1, self._prefix, work, *now_ms)
        except NoScriptError:
            answer = await self._client.eval(SCRIPT, 1, self._prefix, work, *now_ms)
        decided_ms, rows = self._decode(answer)
        decisions: dict[int, Decision] = {}
        for places, row in zip(groups.values(), rows, strict=True):
            accepted, refusing, retry_after_ms, *remaining = row
            for later, place in enumerate(reversed(places[:accepted])):
                decisions[place] = Decision(None, 0.0, [left + later for left in remaining])
            for place in places[accepted:]:
                decisions[place] = Decision(rules[refusing - 1], retry_after_ms / 1000, remaining)
        return decided_ms, [decisions[place] for place in range(len(requests))]

    def _rules_of(self, requests: Sequence[Keys]) -> tuple[Sequence[Rule], list[_WireRule], dict[int, int]]:
        """Return the rules, in the script's form too, and the number of each, by its identity.

        Rules that a tenant has of its own come after those of all; few requests have one.
        """
        known = self._numbers
        own = {id(rule): rule for keys in requests for rule, _key in keys if id(rule) not in known}
        if not own:
            return self._rules, self._wire_rules, known
        rules = (*self._rules, *own.values())
        numbers = known | {of: number for number, of in enumerate(own, len(self._rules) + 1)}
        return rules, [*self._wire_rules, *map(_wire, own.values())], numbers


def _wire(rule: Rule) -> _WireRule:
    return rule.name, rule.limit, rule.window_s * 1000


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
