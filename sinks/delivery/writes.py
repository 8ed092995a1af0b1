"""What the number workers of a process write to the ledger, together: marks, results and hand-backs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import psycopg
from psycopg_pool import PoolClosed, PoolTimeout

from pipeline.runtime.backoff import Backoff
from sinks.delivery.group_commit import Grouped
from sinks.delivery.ledger import Ledger
from sinks.delivery.metrics import SenderMetrics
from sinks.delivery.rows import Attempt, Marked, NotMarked, Result, Settled

log = logging.getLogger(__name__)

DATABASE_ERRORS = (psycopg.Error, PoolTimeout, PoolClosed, OSError)

GROUP_MAX = 200  # rows in one transaction of marks or results
WRITERS = 2  # transactions of one kind at once
RECORD_RETRY_FIRST_S = 0.1
RECORD_RETRY_MAX_S = 2.0


class Writes:
    """Group commit over every number of the process: a transaction each would cost more than the calls."""

    def __init__(self, ledger: Ledger, metrics: SenderMetrics, *, lease_s: float) -> None:
        """`lease_s` is how long a marked delivery may be `calling`."""
        self._ledger = ledger
        self._metrics = metrics
        self._lease_s = lease_s
        self._marks: Grouped[Attempt, Marked | NotMarked] = Grouped(
            self._mark, batch_max=GROUP_MAX, writers=WRITERS
        )
        self._results: Grouped[Result, None] = Grouped(self._record, batch_max=GROUP_MAX, writers=WRITERS)

    async def mark(self, attempts: Sequence[Attempt]) -> Sequence[Marked | NotMarked]:
        """One answer for each, in order. Raises one of `DATABASE_ERRORS`: then it may be marked or not."""
        return await self._marks.submit(attempts)

    async def record(self, result: Result) -> None:
        """Returns only once the result is durable, however long the database is unavailable."""
        backoff = Backoff(RECORD_RETRY_FIRST_S, RECORD_RETRY_MAX_S)
        while True:
            try:
                await self._results.submit([result])
                return
            except DATABASE_ERRORS as error:
                pause_s = backoff.after_failure_s()
                log.warning(
                    "attempt %s: result not written (%s); retrying in %.1f s",
                    result.attempt_id,
                    type(error).__name__,
                    pause_s,
                )
            await asyncio.sleep(pause_s)

    async def settle(self, settled: Sequence[Settled]) -> None:
        """Ends leases; where the database is unavailable they run out by themselves."""
        try:
            await self._ledger.settle(settled)
        except DATABASE_ERRORS as error:
            self._metrics.database_errors.labels("settle").inc()
            cause = type(error).__name__
            log.warning("cannot hand back %d deliveries (%s): their leases run out", len(settled), cause)

    async def _mark(self, attempts: Sequence[Attempt]) -> Sequence[Marked | NotMarked]:
        try:
            return await self._ledger.mark(attempts, lease_s=self._lease_s)
        except DATABASE_ERRORS:
            self._metrics.database_errors.labels("mark").inc()
            raise

    async def _record(self, results: Sequence[Result]) -> Sequence[None]:
        try:
            stopped = await self._ledger.record(results)
        except DATABASE_ERRORS:
            self._metrics.database_errors.labels("record").inc()
            raise
        for campaign_id in stopped:
            self._metrics.campaigns_stopped.inc()
            log.error(
                "campaign %s: stopped, because its recipients are rejected alike: correct its message, then"
                " `quizstream resume-sending --campaign %s`",
                campaign_id,
                campaign_id,
            )
        return [None] * len(results)
