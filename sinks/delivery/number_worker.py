"""The one owner of a sender number: its queue and pace, its connections, its calls and its hand-backs.

It has no callbacks: the sender reads its state, offers deliveries to it, and retires it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Iterable
from uuid import UUID

from pipeline.campaigns.message import Sizes
from pipeline.runtime.ending import ended, within
from pipeline.topology.file import Sender as SenderSettings
from sinks.delivery.call import Calls, Sendable, Shared
from sinks.delivery.numbers import Number
from sinks.delivery.pacing.claims import Room, room_of
from sinks.delivery.pacing.limiter import Limiter, Pace
from sinks.delivery.rows import Leased, Settled
from sinks.delivery.state import DeliveryState
from sinks.outcomes import Sent
from sinks.provider import Provider
from sinks.providers import provider_named

log = logging.getLogger(__name__)

IDLE_MAX_S = 1.0  # of the loop: bounds how late a lease that ran out is seen
LEASES_LEFT_MIN_RATIO = 0.5  # a queued delivery whose lease is past this is handed back: its mark might fail


class NumberWorker:
    """`number` is replaced at each renewal of its lease; everything else lives as long as the lease does."""

    def __init__(self, number: Number, token: str, shared: Shared) -> None:
        """Raises ValueError for an address, CredentialMissing for a token that cannot be used."""
        settings = shared.settings
        provider = provider_named(number.provider)
        self.number = number
        self.sizes: Sizes = provider.limits
        self._shared = shared
        self._lines = provider.connections(
            number.base_url, token, shared.clock, idle_max=settings.in_flight_max
        )
        client = provider.open(number.number_id, token, self._lines, shared.callbacks_of(provider.name))
        self._limiter: Limiter[Sendable] = Limiter(
            pace=_pace_of(number, provider, settings),
            in_flight_max=settings.in_flight_max,
            queue_wait_max_s=settings.lease_s * LEASES_LEFT_MIN_RATIO,
            clock=shared.clock,
            rng=shared.rng,
        )
        # The window of the provider still has the calls of whoever used the number before.
        self._limiter.pause_until(shared.clock() + self._limiter.pace.window_s - number.rested_s)
        self.can_find = provider.can_find
        self._client = client
        self._calls = Calls(number, provider, client, self._lines, self._limiter, shared)
        self._hand_backs: list[Settled] = []
        self._closed = False
        self._depleted = False
        self._loop: asyncio.Task[None] | None = None
        self.renew(number)

    def renew(self, number: Number) -> None:
        """Its lease, renewed: runs longer, and says whether a limit of the provider pauses it."""
        self.number = number
        self._limiter.hold_until(self._shared.clock() + number.paused_s)

    @property
    def usable(self) -> bool:
        """It may begin calls: not closed, not lost, and its lease runs by this process's clock."""
        return not self.lost and self._shared.clock() < self.number.usable_until

    @property
    def lost(self) -> bool:
        """It will never be usable again."""
        return self._closed or self._calls.number_lost

    def start(self) -> None:
        self._loop = asyncio.get_running_loop().create_task(self._run())

    def raise_failure(self) -> None:
        """Raises what a task of it raised unexpectedly."""
        if self._calls.failure is not None:
            raise self._calls.failure
        if self._loop is not None and self._loop.done() and not self._loop.cancelled():
            self._loop.result()

    def room(self, pending: int) -> Room[NumberWorker]:
        """How many deliveries can be leased for it now; `pending` are leased and not offered yet."""
        return room_of(
            self,
            self._limiter,
            pending=pending,
            lease_left_s=self.number.usable_until - self._shared.clock() if not self.lost else 0.0,
            batch_max=self._shared.settings.claim_batch_max,
        )

    def offer(self, sendable: Sendable) -> None:
        """Queues it, or hands it back where the number is not usable any more."""
        if self.usable:
            self._limiter.offer(sendable)
        else:
            self._hand_back([sendable.delivery], "the number was lost")
        self._calls.wake.set()

    async def find(self, attempt_id: UUID, timeout_s: float) -> Sent | None:
        """The message of an attempt of this number whose call is ambiguous; None proves nothing."""
        return await self._client.find(str(attempt_id), timeout_s=timeout_s)

    async def retire(self, reason: str) -> None:
        """Takes on nothing more; returns once its calls are over, recorded, and its queue is handed back."""
        self._close(reason)
        if self._loop is not None:
            await asyncio.wait([self._loop])
        await self._calls.drained()
        await self._hand_over(reason)

    async def finish(self, reason: str, call_grace_s: float, write_grace_s: float) -> None:
        """As `retire`, within the grace of both times: calls that take longer become ambiguous."""
        self._close(reason)
        await self._calls.finish(call_grace_s, write_grace_s)
        if self._loop is not None:
            await ended([self._loop])
        await within(write_grace_s, self._hand_over(reason))  # leases that are not handed back run out

    async def _run(self) -> None:
        while not self._closed:
            self._calls.wake.clear()
            self._hand_back((one.delivery for one in self._limiter.expired()), "waited too long for the pace")
            if self._calls.number_lost:
                break
            tickets = self._limiter.take() if self.usable else []
            if tickets:
                self._calls.begin(tickets)
            self._show()
            if self._hand_backs:
                await self._flush()
            wait_s = self._limiter.wait_s() if self.usable else None
            try:
                async with asyncio.timeout(IDLE_MAX_S if wait_s is None else min(wait_s, IDLE_MAX_S)):
                    await self._calls.wake.wait()
            except TimeoutError:
                continue
        self._close("the number cannot be used")
        await self._flush()

    def _show(self) -> None:
        metrics, number_id = self._shared.metrics, self.number.number_id
        metrics.running.labels(number_id).set(self._limiter.running)
        metrics.queued.labels(number_id).set(self._limiter.queued)
        metrics.reservoir.labels(number_id).set(self._limiter.reservoir)
        depleted = self._limiter.queued > 0 and self._limiter.reservoir <= 0
        if depleted and not self._depleted:
            pace = self._limiter.pace
            log.info("number %s: sends at its full pace, %.2g messages a second", number_id, pace.per_s)
        # Once until its queue has been empty: at full pace the reservoir is empty again and again.
        self._depleted = depleted or (self._depleted and self._limiter.queued > 0)

    def _close(self, reason: str) -> None:
        self._closed = True
        self._calls.wake.set()
        self._hand_back((one.delivery for one in self._limiter.drain()), reason)

    async def _hand_over(self, reason: str) -> None:
        self._close(reason)  # what the calls put back into the queue
        self._lines.close()
        self._show()
        await self._flush()

    def _hand_back(self, deliveries: Iterable[Leased], reason: str) -> None:
        for delivery in deliveries:
            self._hand_backs.append(
                Settled(delivery.key, delivery.lease_token, DeliveryState.WAITING, reason)
            )
            self._shared.metrics.handed_back.inc()

    async def _flush(self) -> None:
        settled, self._hand_backs = self._hand_backs, []
        await self._shared.writes.settle(settled)


def _pace_of(number: Number, provider: Provider, settings: SenderSettings) -> Pace:
    """The number's own pace, else that of its kind of provider; a session never sends in a regular beat."""
    if not provider.is_session:
        usual = settings.coexistence_messages_per_s if number.coexistence else settings.messages_per_s
        return number.pace or Pace(usual)
    pace = number.pace or Pace.per_minute(settings.session_messages_per_minute)
    return dataclasses.replace(pace, jitter_ratio=settings.session_jitter_ratio)
