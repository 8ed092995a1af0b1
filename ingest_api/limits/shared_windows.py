"""Sliding windows in Valkey, the same for all edge processes.

Requests are gathered for a moment, and one script decides all of them in one round trip.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec
from redis.exceptions import NoScriptError, RedisClusterException, RedisError

from ingest_api.limits.windows import Decision, Keys, Rule

SCRIPT = Path(__file__).with_name("sliding_windows.lua").read_text(encoding="utf-8")
SCRIPT_HASH = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()
BATCH_MAX = 256  # requests of one call, during which Valkey serves no other client
EDGE_EXPIRES_S = 10
# Returns for each key (of all edges, of those in one region) the processes that have reported within
# EDGE_EXPIRES_S, this one included.
REPORT = """
local now = tonumber(redis.call('TIME')[1])
local counts = {}
for at, key in ipairs(KEYS) do
    redis.call('ZADD', key, now, ARGV[1])
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now - ARGV[2])
    redis.call('EXPIRE', key, ARGV[2])
    counts[at] = redis.call('ZCARD', key)
end
return counts
"""


class Unavailable(Exception):
    """Valkey did not decide. The requests may have been counted."""


class Running(NamedTuple):
    """Edge processes, and those of them in this one's region: all of them where it has none."""

    everywhere: int
    in_region: int


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
        region: str = "",
    ) -> None:
        self._connect = connect
        self._rules = tuple(rules)
        self._numbers = {id(rule): number for number, rule in enumerate(self._rules, 1)}
        self._wire_rules = [_wire(rule) for rule in rules]
        self._prefix = f"{{{prefix}limits}}:"
        self._gather_s = gather_s
        self._timeout_s = timeout_s
        self._process = process
        edges = f"{self._prefix}edges"
        self._edges = (edges, f"{edges}:{region}") if region else (edges,)
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode: Callable[[bytes], _Decisions] = msgspec.msgpack.Decoder(_Decisions).decode
        self._client: Client | None = None  # belongs to the event loop on which it is first used
        self._waiting: list[Waiting] = []
        self._given_back: list[Keys] = []
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

    def give_back(self, keys: Keys) -> None:
        """Take one request off the keys again, with the next call; it is lost where that fails."""
        self._given_back.append(keys)
        loop = asyncio.get_running_loop()
        if self._sending is None:
            self._sending = loop.call_at(max(self._next_s, loop.time()), self._send, loop)

    async def report(self) -> Running:
        """Tell the other processes that this one runs; return how many run. Raises Unavailable."""
        try:
            if self._client is None:
                self._client = self._connect()
            async with asyncio.timeout(self._timeout_s):
                counts = await self._client.eval(
                    REPORT, len(self._edges), *self._edges, self._process, EDGE_EXPIRES_S
                )
        except (RedisError, RedisClusterException, OSError, TimeoutError) as error:
            raise Unavailable(_reason(error)) from error
        return Running(int(counts[0]), int(counts[-1]))

    async def close(self) -> None:
        for call in self._calls:
            call.cancel()
        if self._client is not None:
            await self._client.aclose()

    def _send(self, loop: asyncio.AbstractEventLoop) -> None:
        self._sending = None
        self._next_s = loop.time() + self._gather_s
        waiting, self._waiting = self._waiting, []
        given_back, self._given_back = self._given_back, []
        for first in range(0, max(len(waiting), len(given_back)), BATCH_MAX):
            batch = slice(first, first + BATCH_MAX)
            call = loop.create_task(self._call(waiting[batch], given_back[batch]))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)

    async def _call(self, batch: list[Waiting], given_back: list[Keys]) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                _now_ms, decisions = await self.run_script(
                    [keys for keys, _decided in batch], given_back=given_back
                )
        except (RedisError, RedisClusterException, OSError, TimeoutError, msgspec.MsgspecError) as error:
            for _keys, decided in batch:
                if not decided.done():
                    decided.set_exception(Unavailable(_reason(error)))
            return
        for (_keys, decided), decision in zip(batch, decisions, strict=True):
            if not decided.done():
                decided.set_result(decision)

    async def run_script(
        self, requests: Sequence[Keys], *now_ms: int, given_back: Sequence[Keys] = ()
    ) -> tuple[float, list[Decision]]:
        """Return Valkey's time in ms and the decisions. Tests set the time. Raises what the client raises."""
        if self._client is None:
            self._client = self._connect()
        rules, wire_rules, numbers = self._rules_of([*requests, *given_back])
        groups: dict[_Group, list[int]] = {}
        for place, keys in enumerate(requests):
            group = tuple([part for rule, key in keys for part in (numbers[id(rule)], key)])
            groups.setdefault(group, []).append(place)
        returned = Counter(
            tuple([part for rule, key in keys for part in (numbers[id(rule)], key)]) for keys in given_back
        )
        wire = [(len(places), *group) for group, places in groups.items()]
        work = self._encode((wire_rules, wire + [(-count, *group) for group, count in returned.items()]))
        try:
            answer = await self._client.evalsha(SCRIPT_HASH, 1, self._prefix, work, *now_ms)
        except NoScriptError:
            answer = await self._client.eval(SCRIPT, 1, self._prefix, work, *now_ms)
        decided_ms, rows = self._decode(answer)
        decisions: dict[int, Decision] = {}
        for places, row in zip(groups.values(), rows, strict=False):
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
