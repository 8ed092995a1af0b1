"""Looks at the requests of each interval, with all other processes, and makes and follows verdicts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from time import perf_counter

from ingest_api.abuse.examiner import Examiner
from ingest_api.abuse.memory_store import MemoryStore
from ingest_api.abuse.metrics import ALONE, ALONE_KEPT, DECIDED, LOOK_SECONDS
from ingest_api.abuse.observations import Observations
from ingest_api.abuse.store import BEGINNING, Exchanged, Report, Store
from ingest_api.abuse.table import Table
from ingest_api.abuse.tally import points_of
from pipeline.abuse.states import judged, merged
from pipeline.abuse.verdicts import Unavailable
from pipeline.runtime.ending import ended
from pipeline.topology.file import Abuse

STORED_AT_ONCE_MAX = 200  # verdicts of one look, after Valkey was away; more follow with the next one

log = logging.getLogger(__name__)


class Detector:
    """`alone` has this process's own sums, for the time in which `shared` does not answer."""

    def __init__(
        self,
        observations: Observations,
        examiner: Examiner,
        table: Table,
        shared: Store,
        alone: Callable[[], MemoryStore],
        limits: Abuse,
        now_ms: Callable[[], int],
    ) -> None:
        self._observations = observations
        self._examiner = examiner
        self._table = table
        self._shared = shared
        self._make_alone = alone
        self._alone: MemoryStore | None = None
        self._limits = limits
        self._now_ms = now_ms
        self._position = BEGINNING
        self._to_store: dict[str, None] = {}  # subjects of verdicts that Valkey may not have
        self._task: asyncio.Task[None] | None = None
        ALONE.set(0)

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep_looking())

    async def close(self) -> None:
        if self._task is not None:
            await ended([self._task])

    async def look(self) -> None:
        """One interval: report, receive, decide."""
        began_s = perf_counter()
        report = self._examiner.report(self._observations.take())
        LOOK_SECONDS.observe(perf_counter() - began_s)
        try:
            found = await self._shared.exchange(report, self._position)
            store = self._shared
            await self._returned(found)
        except Unavailable as error:
            store = self._lost(error)
            found = await store.exchange(report, BEGINNING)
        self._examiner.learn(dict(found.baselines))
        await self._decide(report, found, store)
        self._table.expire()
        if self._alone is not None:
            for what, size in self._alone.sizes().items():
                ALONE_KEPT.labels(what).set(size)

    async def _decide(self, report: Report, found: Exchanged, store: Store) -> None:
        for push, tally in zip(report.pushes, found.tallies, strict=True):
            before = self._table.known(push.subject)
            sealed = self._examiner.sealed(push.subject)
            points = points_of(tally, self._limits)
            verdict = judged(before, push.subject, sealed, points, self._limits, self._now_ms())
            if verdict is None:
                continue
            try:
                stored = await store.put(verdict, before, self._now_ms())
            except Unavailable as error:
                self._lost(error)
                stored = True
            if stored:
                self._table.apply(push.subject, verdict)
                DECIDED.labels(verdict.kind.value, verdict.state.value).inc()
                log.warning(
                    "%s is %s until %d (points: %s); `quizstream abuse show` has its address",
                    verdict.subject,
                    verdict.state.value,
                    verdict.until_ms,
                    verdict.points,
                )

    async def _returned(self, found: Exchanged) -> None:
        """Follow what others and operators decided; merge it with what was decided here without Valkey.

        After a loss of Valkey's memory every process stores again what it holds.
        """
        was_alone, self._alone = self._alone is not None, None
        if was_alone:
            ALONE.set(0)
            ALONE_KEPT.clear()
            log.info("Valkey answers: abuse is judged by what all edge processes see")
        if was_alone or found.lost:
            self._to_store = dict.fromkeys(verdict.subject for verdict in self._table.active())
        for subject, verdict in found.changes.items():
            if subject not in self._to_store:
                self._table.apply(subject, verdict)
        self._position = found.position
        for subject in list(self._to_store)[:STORED_AT_ONCE_MAX]:
            if await self._is_stored(subject):
                del self._to_store[subject]

    async def _is_stored(self, subject: str) -> bool:
        """Merge this process's verdict into the stored one; return False if another process changed that."""
        mine, now_ms = self._table.known(subject), self._now_ms()
        if mine is None:
            return True
        stored = await self._shared.find(subject)
        both = mine if stored is None else merged(mine, stored, now_ms)
        if both != stored and not await self._shared.put(both, stored, now_ms):
            return False
        self._table.apply(subject, both)
        return True

    def _lost(self, error: Unavailable) -> Store:
        if self._alone is None:
            self._alone = self._make_alone()
            ALONE.set(1)
            log.warning(
                "abuse: Valkey is unavailable (%s); this process judges by its own observations", error
            )
        return self._alone

    async def _keep_looking(self) -> None:
        while True:
            try:
                await self.look()
            except Exception:
                log.exception("abuse: the requests of an interval were not examined")
            await asyncio.sleep(self._limits.interval_ms / 1000)
