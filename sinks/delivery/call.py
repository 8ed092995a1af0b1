"""From tickets to results: connect, mark, call, write down. The order is what the promise of the ledger
rests on.

1. A connection is open before anything is marked: a provider that cannot be reached costs no attempt.
2. The mark is durable before the call: a crash leaves a row that says "somebody may have called". 3.
The call is made only if little time has passed since *before* the mark was asked for: whoever slept
does not call. 4. The place in flight is free only when the result is durable: never more rows `calling`
than places.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Sequence
from typing import Any
from uuid import UUID

import psycopg
from psycopg_pool import PoolClosed, PoolTimeout

from pipeline.runtime.crash_points import reach
from pipeline.topology.file import Sender as SenderSettings
from sinks.actions import FailRecipient, HoldNumber, Throttle
from sinks.connection import CannotConnect, Line
from sinks.delivery.consequences import Call, RetryPolicy, consequence
from sinks.delivery.group_commit import Grouped
from sinks.delivery.ledger import Ledger
from sinks.delivery.limiter import Ticket
from sinks.delivery.metrics import SenderMetrics
from sinks.delivery.number_worker import Desk, Sendable
from sinks.delivery.rows import NUMBER_LOST, Marked, MarkRequest, NotMarked, Result, Settled
from sinks.outcomes import Ambiguous, NotCalled, Outcome, Rejected, Sent

log = logging.getLogger(__name__)

DATABASE_ERRORS = (psycopg.Error, PoolTimeout, PoolClosed, OSError)

GROUP_MAX = 200  # rows in one transaction of marks or results
WRITERS = 2  # transactions of one kind at once
SETBACK_BASE_S = 0.5  # first pause of a number after a throttle or a failed connection
SETBACK_MAX_S = 60.0
RECORD_RETRY_MAX_S = 2.0


class Calls:
    """Everything between "this may be called now" and "its result is durable", for all numbers of a
    process.
    """

    def __init__(
        self,
        ledger: Ledger,
        settings: SenderSettings,
        *,
        clock: Callable[[], float],
        rng: random.Random,
        new_id: Callable[[], UUID],
        metrics: SenderMetrics,
        unusable: Callable[[Desk], None],
    ) -> None:
        """`unusable` is called when a number turns out to be lost or held; it must not block."""
        self._ledger = ledger
        self._settings = settings
        self._policy = RetryPolicy(
            settings.attempts_max, settings.retry_base_s, settings.retry_max_s, settings.retry_jitter_ratio
        )
        self._clock = clock
        self._rng = rng
        self._new_id = new_id
        self._metrics = metrics
        self._unusable = unusable
        self._marks: Grouped[MarkRequest, Marked | NotMarked] = Grouped(
            self._mark_together, batch_max=GROUP_MAX, writers=WRITERS
        )
        self._results: Grouped[Result, None] = Grouped(
            self._record_together, batch_max=GROUP_MAX, writers=WRITERS
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._at_provider: set[asyncio.Task[None]] = set()
        self._stopping = False
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def open(self) -> int:
        """Tasks that have not ended: marks, calls, results."""
        return len(self._tasks)

    def begin(self, desk: Desk, tickets: Sequence[Ticket[Sendable]]) -> None:
        self._spawn(self._process(desk, tickets))

    async def finish(self, call_grace_s: float, write_grace_s: float) -> None:
        """Waits for the calls under way; those that take longer are cut off, which makes them ambiguous."""
        self._stopping = True
        await self._wait(call_grace_s)
        for task in self._at_provider:
            task.cancel()
        await self._wait(write_grace_s)
        for task in self._tasks:
            task.cancel()
        await self._wait(write_grace_s)

    async def _wait(self, timeout_s: float) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not self.failed.done():
            self.failed.set_exception(error)

    async def _process(self, desk: Desk, tickets: Sequence[Ticket[Sendable]]) -> None:
        lines = await self._connect(desk, len(tickets))
        if len(lines) < len(tickets):
            desk.limiter.put_back(tickets[len(lines) :])
        if lines and self._stopping:
            desk.limiter.put_back(tickets[: len(lines)])
        elif lines:
            await self._mark_and_call(desk, [ticket.item for ticket in tickets[: len(lines)]], lines)
        desk.wake.set()

    async def _connect(self, desk: Desk, count: int) -> list[Line]:
        lines: list[Line] = []
        try:
            while len(lines) < count:
                lines.append(await desk.lines.take())
        except CannotConnect as error:
            self._metrics.unreachable.labels(desk.number.number_id).inc()
            log.warning("number %s: cannot connect: %s", desk.number.number_id, error)
            self._set_back(desk, 0.0)
        return lines

    async def _mark_and_call(self, desk: Desk, sendables: Sequence[Sendable], lines: Sequence[Line]) -> None:
        requests = [
            MarkRequest(
                one.delivery.key,
                one.delivery.lease_token,
                desk.number.number_id,
                desk.number.fencing_token,
                self._new_id(),
            )
            for one in sendables
        ]
        reach("sender.before_mark")
        # From before the mark: what the mark itself took counts as time that the process may have slept.
        not_after = self._clock() + self._settings.mark_to_call_max_ms / 1000
        try:
            answers = await self._marks.submit(requests)
        except DATABASE_ERRORS as error:
            log.warning("mark: %s", type(error).__name__)
            for line in lines:
                desk.lines.give(line)
            await self._unmark(desk, sendables, requests)
            return
        for sendable, request, line, answer in zip(sendables, requests, lines, answers, strict=True):
            match answer:
                case Marked(attempts):
                    self._metrics.attempts.inc()
                    call = Call(
                        sendable.delivery, request.attempt_id, request.number_id, attempts, sendable.template
                    )
                    self._spawn(self._call(desk, sendable, call, line, not_after))
                case NotMarked(state, reason):
                    self._metrics.not_marked.labels(state or "lost").inc()
                    log.info("delivery %s: not called: %s", sendable.delivery.delivery_id, reason)
                    desk.lines.give(line)
                    desk.limiter.untaken()
                    if reason == NUMBER_LOST:
                        self._unusable(desk)

    async def _unmark(
        self, desk: Desk, sendables: Sequence[Sendable], requests: Sequence[MarkRequest]
    ) -> None:
        """The commit of a mark is unknown; no call was made: give back what may have been marked or
        leased.
        """
        gone = NotCalled("the answer to the mark was lost")
        for sendable, request in zip(sendables, requests, strict=True):
            call = Call(sendable.delivery, request.attempt_id, request.number_id, 1, sendable.template)
            await self._record(consequence(call, gone, self._policy, self._rng))
        desk.limiter.untaken(len(sendables))
        await self._settle(
            [Settled(one.delivery.key, one.delivery.lease_token, "waiting", gone.detail) for one in sendables]
        )

    async def _call(self, desk: Desk, sendable: Sendable, call: Call, line: Line, not_after: float) -> None:
        reach("sender.marked")
        asked_at = self._clock()
        this = asyncio.current_task()
        assert this is not None
        self._at_provider.add(this)
        try:
            outcome = await self._send(desk, sendable, str(call.attempt_id), line, not_after)
        except asyncio.CancelledError:
            this.uncancel()  # only `finish` cancels here, and the result is still to be written
            outcome = Ambiguous("the sender was stopped during the call")
        except Exception:
            log.exception(
                "delivery %s: the call failed in a way that proves nothing", call.delivery.delivery_id
            )
            outcome = Ambiguous("the sender failed during the call")
        finally:
            self._at_provider.discard(this)
        reach("sender.called")
        self._metrics.call_seconds.observe(self._clock() - asked_at)
        desk.limiter.ended()
        result = consequence(call, outcome, self._policy, self._rng)
        self._heed(desk, outcome, result)
        await self._record(result)
        reach("sender.recorded")
        desk.limiter.freed()
        desk.wake.set()

    async def _send(
        self, desk: Desk, sendable: Sendable, attempt_id: str, line: Line, not_after: float
    ) -> Outcome:
        problem = desk.provider.limits.problem_of(sendable.message)
        if problem is not None:
            desk.lines.give(line)
            return Rejected(FailRecipient(), "", problem)
        outcome = await desk.client.send(
            line,
            sendable.to,
            sendable.message,
            attempt_id,
            not_after=not_after,
            timeout_s=self._settings.call_timeout_s,
        )
        if isinstance(outcome, Ambiguous):
            # What the lease has left after the longest call, halved: the result is to be written within it.
            left_s = self._settings.lease_s - self._settings.call_timeout_s
            timeout_s = (left_s - self._settings.mark_to_call_max_ms / 1000) / 2
            return await desk.client.find(attempt_id, timeout_s=timeout_s) or outcome
        return outcome

    def _heed(self, desk: Desk, outcome: Outcome, result: Result) -> None:
        """What a single outcome says about the number."""
        self._metrics.outcomes.labels(result.outcome, str(result.code or "")).inc()
        if result.state != "sent":
            log.warning("attempt %s: %s: %s", result.attempt_id, result.state, result.reason)
        match outcome:
            case Sent():
                desk.setbacks = 0
            case Rejected(Throttle(), retry_after_s=retry_after_s):
                self._set_back(desk, retry_after_s)
            case Rejected(HoldNumber()):
                self._unusable(desk)
            case Rejected(listed=False, code=code):
                self._metrics.unlisted_codes.labels(desk.provider.name, code).inc()
                log.error(
                    "attempt %s: provider %s refused with the unlisted code %s; the delivery failed",
                    result.attempt_id,
                    desk.provider.name,
                    code,
                )
            case Ambiguous(slow_down=True):
                self._set_back(desk, 0.0)
            case _:
                return

    def _set_back(self, desk: Desk, at_least_s: float) -> None:
        if not desk.limiter.paused:  # the calls of one moment are one setback
            desk.setbacks += 1
        pause_s = min(SETBACK_BASE_S * 2.0 ** min(desk.setbacks - 1, 16), SETBACK_MAX_S)
        desk.limiter.pause_until(self._clock() + max(at_least_s, pause_s * self._rng.uniform(0.8, 1.2)))

    async def _record(self, result: Result) -> None:
        """Returns only once the result is durable, however long the database is away."""
        pause_s = 0.1
        while True:
            try:
                await self._results.submit([result])
                return
            except DATABASE_ERRORS as error:
                log.warning("attempt %s: result not written yet: %s", result.attempt_id, type(error).__name__)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, RECORD_RETRY_MAX_S)

    async def _settle(self, settled: Sequence[Settled]) -> None:
        try:
            await self._ledger.settle(settled)
        except DATABASE_ERRORS as error:
            # Their leases run out by themselves.
            self._metrics.database_errors.labels("settle").inc()
            log.warning("hand back: %s", type(error).__name__)

    async def _mark_together(self, requests: Sequence[MarkRequest]) -> Sequence[Marked | NotMarked]:
        try:
            return await self._ledger.mark(requests, lease_s=self._settings.lease_s)
        except DATABASE_ERRORS:
            self._metrics.database_errors.labels("mark").inc()
            raise

    async def _record_together(self, results: Sequence[Result]) -> Sequence[None]:
        try:
            await self._ledger.record(results)
        except DATABASE_ERRORS:
            self._metrics.database_errors.labels("record").inc()
            raise
        return [None] * len(results)
