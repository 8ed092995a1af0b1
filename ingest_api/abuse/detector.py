"""Looks at the requests of each interval, with all other processes, and makes and follows verdicts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from time import perf_counter

from ingest_api.abuse.examiner import Examiner
from ingest_api.abuse.metrics import ALONE, DECIDED, LOOK_SECONDS
from ingest_api.abuse.observations import Observations
from ingest_api.abuse.store import Exchanged, Report, Store
from ingest_api.abuse.table import Table
from ingest_api.abuse.tally import points_of
from pipeline.abuse.states import judged
from pipeline.abuse.verdicts import Unavailable
from pipeline.topology.file import Abuse

log = logging.getLogger(__name__)


class Detector:
    """`alone` has this process's own sums, for the time in which `shared` does not answer."""

    def __init__(
        self,
        observations: Observations,
        examiner: Examiner,
        table: Table,
        shared: Store,
        alone: Callable[[], Store],
        limits: Abuse,
        now_ms: Callable[[], int],
    ) -> None:
        self._observations = observations
        self._examiner = examiner
        self._table = table
        self._shared = shared
        self._make_alone = alone
        self._alone: Store | None = None
        self._limits = limits
        self._now_ms = now_ms
        self._last = 0
        self._task: asyncio.Task[None] | None = None
        ALONE.set(0)

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep_looking())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def look(self) -> None:
        """One interval: report, receive, decide."""
        began_s = perf_counter()
        report = self._examiner.report(self._observations.take())
        LOOK_SECONDS.observe(perf_counter() - began_s)
        try:
            found = await self._shared.exchange(report, self._last)
            store = self._shared
            await self._returned(found)
        except Unavailable as error:
            store = self._lost(error)
            found = await store.exchange(report, 0)
        self._examiner.learn(dict(found.baselines))
        await self._decide(report, found, store)
        self._table.expire()

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
        """Follow what others and operators decided; store again what Valkey has lost or never had."""
        was_alone, self._alone = self._alone is not None, None
        if was_alone:
            ALONE.set(0)
            log.info("Valkey answers: abuse is judged by what all edge processes see")
        for subject, verdict in found.changes.items():
            self._table.apply(subject, verdict)
        if was_alone or found.lost:
            missing = [one for one in self._table.active() if one.subject not in found.changes]
            for verdict in missing:
                await self._shared.put(verdict, None, self._now_ms())
        self._last = found.last

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
