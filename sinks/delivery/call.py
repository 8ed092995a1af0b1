"""The calls of one number, from tickets to results: connect, mark, call, record.

The guarantees of the ledger depend on this order:

1. A connection is open before anything is marked: an unreachable provider costs no attempt.
2. The mark is durable before the call: after a crash the row shows that the provider may have been called.
3. The call is made only if little time has passed since *before* the mark was requested: a suspended process
   does not call.
4. A place in flight is free only when the result is durable: never more rows `calling` than places.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import random
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pipeline.campaigns.message import Rendered, has_fallbacks
from pipeline.runtime.backoff import Backoff
from pipeline.runtime.crash_points import reach
from pipeline.runtime.ending import ended
from pipeline.topology.file import Sender as SenderSettings
from schemas.records import Message
from sinks.actions import FailMessage, FailRecipient, HoldNumber, HoldTemplate, Throttle
from sinks.connection import CannotConnect
from sinks.delivery.consequences import RetryPolicy, consequence
from sinks.delivery.metrics import SenderMetrics
from sinks.delivery.numbers import ROUNDS_PER_LEASE, Number
from sinks.delivery.pacing.limiter import Limiter, Ticket
from sinks.delivery.rows import (
    NUMBER_LOST,
    NUMBER_PAUSED,
    Attempt,
    Leased,
    Marked,
    NotMarked,
    PauseNumbers,
    Result,
    Settled,
)
from sinks.delivery.state import DeliveryState
from sinks.delivery.writes import DATABASE_ERRORS, Writes
from sinks.outcomes import Ambiguous, NotCalled, Outcome, Rejected, Sent
from sinks.provider import Callbacks, Client, Connections, Provider

log = logging.getLogger(__name__)

BACKOFF_FIRST_S = 0.5  # first pause of a number after a throttle or a failed connection
BACKOFF_MAX_S = 60.0
BACKOFF_JITTER_RATIO = 0.4  # the numbers of an account are throttled at the same moment


@dataclass(frozen=True, slots=True)
class Sendable:
    """A leased delivery with its whole message, which was rendered from its campaign's."""

    delivery: Leased
    to: str
    message: Rendered
    of_campaign: Message


@dataclass(frozen=True)
class Shared:
    """What the number workers of a process have in common. `clock` is monotonic."""

    settings: SenderSettings
    writes: Writes
    clock: Callable[[], float]
    rng: random.Random
    new_id: Callable[[], UUID]
    metrics: SenderMetrics
    callbacks_of: Callable[[str], Callbacks] = lambda _provider: Callbacks()

    @property
    def policy(self) -> RetryPolicy:
        settings = self.settings
        return RetryPolicy(
            settings.attempts_max,
            settings.retry_base_s,
            settings.retry_max_s,
            settings.retry_jitter_ratio,
            settings.rejected_alike_max,
        )


class Calls:
    """The calls in flight of one number. Its owner looks at `number_lost` and `failure` after each `wake`."""

    def __init__(
        self,
        number: Number,
        provider: Provider,
        client: Client,
        lines: Connections,
        limiter: Limiter[Sendable],
        shared: Shared,
    ) -> None:
        self._number_id = number.number_id
        self._fencing_token = number.fencing_token  # of the lease under which the worker was made
        self._provider = provider
        self._client = client
        self._lines = lines
        self._limiter = limiter
        self._shared = shared
        self._settings = shared.settings
        self._policy = shared.policy
        self._metrics = shared.metrics
        self._backoff = Backoff(BACKOFF_FIRST_S, BACKOFF_MAX_S, BACKOFF_JITTER_RATIO, shared.rng)
        self._pause_s = 0.0  # of the last throttle or failed connection
        self._tasks: set[asyncio.Task[None]] = set()
        self._at_provider: set[asyncio.Task[None]] = set()
        self._stopping = False
        self.wake = asyncio.Event()  # something has changed: a call ended, or the number was lost
        self.number_lost = False  # it has another holder, or the provider refuses it
        self.failure: BaseException | None = None  # of a task, unexpectedly

    def begin(self, tickets: Sequence[Ticket[Sendable]]) -> None:
        self._spawn(self._process(tickets))

    async def drained(self) -> None:
        """Returns once no mark, call or result is in flight."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def finish(self, call_grace_s: float, write_grace_s: float) -> None:
        """Waits for the calls in flight; those that take longer are cut off, which makes them ambiguous."""
        self._stopping = True
        await self._wait(call_grace_s)
        for task in self._at_provider:
            task.cancel()
        await self._wait(write_grace_s)
        await ended(self._tasks)

    async def _wait(self, timeout_s: float) -> None:
        """Also for those that a task begins meanwhile: a mark that is committed is followed by its call."""
        give_up_at = self._shared.clock() + timeout_s
        while self._tasks and (left_s := give_up_at - self._shared.clock()) > 0:
            await asyncio.wait(self._tasks, timeout=left_s)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failure = self.failure or error
            self.wake.set()

    async def _process(self, tickets: Sequence[Ticket[Sendable]]) -> None:
        lines = await self._connect(len(tickets))
        if len(lines) < len(tickets):
            self._limiter.put_back(tickets[len(lines) :])
        if lines and self._stopping:
            self._limiter.put_back(tickets[: len(lines)])
        elif lines:
            await self._mark_and_call([ticket.item for ticket in tickets[: len(lines)]], lines)
        self.wake.set()

    async def _connect(self, count: int) -> list[Any]:
        lines: list[Any] = []
        try:
            while len(lines) < count:
                lines.append(await self._lines.take())
        except CannotConnect as error:
            self._metrics.unreachable.labels(self._number_id).inc()
            pause_s = self._back_off(0.0)
            log.warning("number %s: cannot connect (%s); retrying in %.1f s", self._number_id, error, pause_s)
        return lines

    async def _mark_and_call(self, sendables: Sequence[Sendable], lines: Sequence[Any]) -> None:
        attempts = [
            Attempt(
                one.delivery,
                self._shared.new_id(),
                self._number_id,
                self._fencing_token,
                one.message.template,
            )
            for one in sendables
        ]
        reach("sender.before_mark")
        # From before the mark: what the mark itself took counts as time that the process may have slept.
        not_after = self._shared.clock() + self._settings.mark_to_call_max_ms / 1000
        try:
            answers = await self._shared.writes.mark(attempts)
        except DATABASE_ERRORS as error:
            log.warning("number %s: cannot mark (%s)", self._number_id, type(error).__name__)
            for line in lines:
                self._lines.give(line)
            await self._unmark(attempts)
            return
        for sendable, attempt, line, answer in zip(sendables, attempts, lines, answers, strict=True):
            match answer:
                case Marked():
                    self._metrics.attempts.inc()
                    self._spawn(self._call(sendable, attempt, line, not_after))
                case NotMarked(state, reason):
                    self._metrics.not_marked.labels(state or "lost").inc()
                    log.info("delivery %s: not called: %s", attempt.delivery.delivery_id, reason)
                    self._lines.give(line)
                    self._limiter.untaken()
                    self.number_lost = self.number_lost or reason == NUMBER_LOST
                    if reason == NUMBER_PAUSED:  # by another process: the next lease says for how long
                        round_s = self._settings.number_lease_s / ROUNDS_PER_LEASE
                        self._limiter.pause_until(self._shared.clock() + round_s)

    async def _unmark(self, attempts: Sequence[Attempt]) -> None:
        """The commit of a mark is unknown; no call was made: give back what may be marked or leased."""
        gone = NotCalled("the answer to the mark was lost")
        for attempt in attempts:
            await self._shared.writes.record(consequence(attempt, gone, self._policy, self._shared.rng))
        self._limiter.untaken(len(attempts))
        await self._shared.writes.settle(
            [
                Settled(one.delivery.key, one.delivery.lease_token, DeliveryState.WAITING, gone.detail)
                for one in attempts
            ]
        )

    async def _call(self, sendable: Sendable, attempt: Attempt, line: Any, not_after: float) -> None:
        reach("sender.marked")
        began_at = self._shared.clock()
        this = asyncio.current_task()
        assert this is not None
        self._at_provider.add(this)
        try:
            outcome = await self._send(sendable, str(attempt.attempt_id), line, not_after)
        except asyncio.CancelledError:
            this.uncancel()  # only `finish` cancels here, and the result is still to be written
            outcome = Ambiguous("the sender was stopped during the call")
        except Exception:
            log.exception(
                "delivery %s: the call failed in a way that proves nothing", attempt.delivery.delivery_id
            )
            outcome = Ambiguous("the sender failed during the call")
        finally:
            self._at_provider.discard(this)
        reach("sender.called")
        self._metrics.call_seconds.observe(self._shared.clock() - began_at)
        self._limiter.ended()
        replaceable = self._is_replaceable(sendable, outcome)
        result = consequence(attempt, outcome, self._policy, self._shared.rng, replaceable=replaceable)
        result = self._heed(outcome, result)
        await self._shared.writes.record(result)
        reach("sender.recorded")
        self._limiter.freed()
        self.wake.set()

    async def _send(self, sendable: Sendable, attempt_id: str, line: Any, not_after: float) -> Outcome:
        limits = self._provider.limits
        problem = limits.problem_of(sendable.message)
        if problem is not None:
            self._lines.give(line)
            # A kind that the provider lacks is not due to the recipient: the campaign stops, nothing fails.
            carried = limits.carries(sendable.message.kind)
            action = FailRecipient("provider") if carried else HoldTemplate()
            return Rejected(action, "", problem, written=False)
        outcome = await self._client.send(
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
            return await self._client.find(attempt_id, timeout_s=timeout_s) or outcome
        return outcome

    def _is_replaceable(self, sendable: Sendable, outcome: Outcome) -> bool:
        """Whether what was rejected may be due to a text for which there is a fallback. Asked of few."""
        match outcome:
            case Rejected(FailMessage()):
                one = sendable.delivery
                return not one.with_fallbacks and has_fallbacks(
                    sendable.of_campaign, one.variables, one.personal, self._provider.limits
                )
            case _:
                return False

    def _heed(self, outcome: Outcome, result: Result) -> Result:
        """What a single outcome says about the number; the result with what others have to know of it."""
        self._metrics.outcomes.labels(result.outcome, str(result.code or "")).inc()
        if result.state != DeliveryState.SENT:
            log.warning("attempt %s: %s: %s", result.attempt_id, result.state, result.reason)
        match outcome:
            case Sent():
                self._backoff.after_success()
            case Rejected(Throttle(scope), retry_after_s=retry_after_s):
                pause_s = self._back_off(retry_after_s)
                pause = PauseNumbers(self._number_id, pause_s, whole_account=scope != "number")
                return dataclasses.replace(result, effects=(*result.effects, pause))
            case Rejected(HoldNumber()) | Ambiguous(hold=HoldNumber()):
                self.number_lost = True
                self.wake.set()
            case Rejected(listed=False, code=code):
                self._metrics.unlisted_codes.labels(self._provider.name, code).inc()
                log.error(
                    "attempt %s: provider %s rejected it with the unlisted code %s; the delivery failed",
                    result.attempt_id,
                    self._provider.name,
                    code,
                )
            case _:
                pass
        return result

    def _back_off(self, at_least_s: float) -> float:
        """Pauses the number for a while; returns for how many seconds nothing should be called.

        A longer pause is the ledger's to keep: there an operator may end it.
        """
        if not self._limiter.paused:  # the calls of one moment count once
            self._pause_s = self._backoff.after_failure_s()
        self._limiter.pause_until(self._shared.clock() + min(max(at_least_s, self._pause_s), BACKOFF_MAX_S))
        return max(at_least_s, self._pause_s)
