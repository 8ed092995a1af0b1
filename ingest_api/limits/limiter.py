"""Decides requests by the windows in Valkey; while it does not answer, by this process's share of them."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable

from ingest_api.http.metrics import EDGES, LIMIT_DECISIONS, LIMITS_LOCAL
from ingest_api.limits.shared_windows import EDGE_EXPIRES_S, SharedWindows, Unavailable
from ingest_api.limits.windows import Decision, Keys, LocalWindows, Rule
from pipeline.runtime.ending import ended

log = logging.getLogger(__name__)

REPORT_EVERY_S = 1.0  # also how soon Valkey is used again

_BY_VALKEY = LIMIT_DECISIONS.labels("valkey")
_BY_PROCESS = LIMIT_DECISIONS.labels("process")
_REMEMBERED = LIMIT_DECISIONS.labels("remembered")


class Limiter:
    """A refusal is remembered until a request can be accepted again: floods do not reach Valkey."""

    def __init__(
        self,
        shared: SharedWindows,
        keys_max: int,
        processes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`processes`: the number of edge processes to assume until Valkey has counted them."""
        self._shared = shared
        self._local = LocalWindows(keys_max, clock)
        self._keys_max = keys_max
        self._clock = clock
        self._processes = self._in_region = processes
        self._refused: dict[tuple[str, str], tuple[float, Decision]] = {}
        self._available: bool | None = None
        self._counted_from_s = -math.inf
        LIMITS_LOCAL.set(0)

    @property
    def is_shared(self) -> bool:
        """Whether Valkey answers, so that the limits hold over all processes."""
        return bool(self._available)

    @property
    def processes(self) -> int:
        return self._processes

    async def start(self) -> None:
        await self._report()
        self._reporting = asyncio.create_task(self._keep_reporting())

    async def close(self) -> None:
        await ended([self._reporting])
        await self._shared.close()

    async def decide(self, keys: Keys) -> Decision:
        remembered = self._remembered(keys)
        if remembered is not None:
            _REMEMBERED.inc()
            return remembered
        if self._available:
            try:
                decision = await self._shared.decide(keys)
            except Unavailable as error:
                self._lost(error)
            else:
                _BY_VALKEY.inc()
                if decision.refusing is not None:
                    self._remember(keys, decision)
                return decision
        _BY_PROCESS.inc()
        return self._local.decide(keys, self._processes, self._in_region)

    def give_back(self, rule: Rule, key: str) -> None:
        """Take a request off this limit again: it was counted and is not what the limit counts."""
        if self._available:
            self._shared.give_back(((rule, key),))
        else:
            self._local.give_back(rule, key)

    def _remembered(self, keys: Keys) -> Decision | None:
        if not self._refused:
            return None
        for rule, key in keys:
            found = self._refused.get((rule.name, key))
            if found is None:
                continue
            until_s, decision = found
            left_s = until_s - self._clock()
            was_raised = decision.refusing is not None and rule.limit > decision.refusing.limit
            if left_s > 0 and not was_raised:
                return Decision(decision.refusing, left_s, ())
            del self._refused[rule.name, key]
        return None

    def _remember(self, keys: Keys, decision: Decision) -> None:
        if len(self._refused) >= self._keys_max:
            self._refused.clear()
        until_s = self._clock() + decision.retry_after_s
        for rule, key in keys:
            if rule is decision.refusing:
                self._refused[rule.name, key] = (until_s, decision)

    async def _keep_reporting(self) -> None:
        while True:
            await asyncio.sleep(REPORT_EVERY_S)
            await self._report()

    async def _report(self) -> None:
        try:
            found = await self._shared.report()
        except Unavailable as error:
            self._lost(error)
            return
        # After a loss the others may not have reported yet: too few would each take too large a share.
        all_reported = self._clock() >= self._counted_from_s
        self._processes = found.everywhere if all_reported else max(found.everywhere, self._processes)
        self._in_region = found.in_region if all_reported else max(found.in_region, self._in_region)
        EDGES.set(self._processes)
        if not self._available:
            self._available = True
            LIMITS_LOCAL.set(0)
            log.info("Valkey answers: rate limits hold over all %d edge processes", self._processes)

    def _lost(self, error: Unavailable) -> None:
        self._counted_from_s = self._clock() + EDGE_EXPIRES_S
        if self._available is False:
            return
        self._available = False
        LIMITS_LOCAL.set(1)
        log.warning(
            "rate limits: Valkey is unavailable (%s); each of %d edge processes applies its share alone",
            error,
            self._processes,
        )
