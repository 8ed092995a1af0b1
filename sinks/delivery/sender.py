"""The sender: leases numbers, leases deliveries, gives each to a number's desk, and reclaims what others
left.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from uuid import UUID

from pipeline.campaigns.message import NotRenderable, render
from pipeline.runtime.crash_points import reach
from pipeline.topology.file import Sender as SenderSettings
from sinks.delivery.call import DATABASE_ERRORS, Calls
from sinks.delivery.ledger import Ledger
from sinks.delivery.metrics import SenderMetrics
from sinks.delivery.number_worker import Desk, Sendable
from sinks.delivery.numbers import Number, Numbers
from sinks.delivery.publish_gate import Unpublished
from sinks.delivery.rows import Leased, Settled

log = logging.getLogger(__name__)

RECLAIM_EVERY_S = 1.0
GAUGES_EVERY_S = 15.0
# A call that is still under way this long after SIGTERM is cut off; with the writes the process ends within
# 10 s.
STOP_CALL_GRACE_S = 6.0
STOP_WRITE_GRACE_S = 1.0
LEASES_LEFT_MIN_RATIO = 0.5  # a queued delivery whose lease is past this is handed back: its mark might fail


class Sender:
    """One process's sending. `token_of` gives the secret that a number's credential names, None if there
    is none.

    `clock` is monotonic and goes on while the process is stopped.
    """

    def __init__(
        self,
        ledger: Ledger,
        numbers: Numbers,
        settings: SenderSettings,
        *,
        token_of: Callable[[str], str | None],
        clock: Callable[[], float],
        rng: random.Random,
        new_id: Callable[[], UUID],
        metrics: SenderMetrics,
    ) -> None:
        self._ledger = ledger
        self._numbers = numbers
        self._settings = settings
        self._token_of = token_of
        self._clock = clock
        self._rng = rng
        self._new_id = new_id
        self._metrics = metrics
        self._desks: dict[str, Desk] = {}
        self._serving: dict[str, asyncio.Task[None]] = {}
        self._refused: set[str] = set()  # credentials and numbers that were complained about
        self._calls = Calls(
            ledger,
            settings,
            clock=clock,
            rng=rng,
            new_id=new_id,
            metrics=metrics,
            unusable=self._unusable,
        )
        self._hand_backs: list[Settled] = []
        self._unpublished = Unpublished(clock, settings.lease_s * LEASES_LEFT_MIN_RATIO)
        self._stopping = False
        self.database_ok = False

    @property
    def numbers_in_use(self) -> int:
        return sum(desk.usable for desk in self._desks.values())

    async def run(self, stop: asyncio.Event) -> None:
        """Sends until `stop`; then finishes calls in flight, hands everything else back, and returns.

        Raises what a task of its own raised unexpectedly: the process then better starts anew.
        """
        feeding = asyncio.create_task(self._feed())
        loops = [
            feeding,
            asyncio.create_task(
                self._every(self._settings.number_lease_s / 3, "numbers", self._keep_numbers)
            ),
            asyncio.create_task(self._every(RECLAIM_EVERY_S, "reclaim", self._reclaim)),
            asyncio.create_task(self._every(GAUGES_EVERY_S, "gauges", self._count)),
        ]
        stopped = asyncio.create_task(stop.wait())
        ends: list[asyncio.Future[Any]] = [*loops, stopped, self._calls.failed]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._stopping = True
            # A claim that is cut off leaves its leases to run out.
            await asyncio.wait([feeding], timeout=STOP_WRITE_GRACE_S)
            for task in (*loops, stopped, *self._serving.values()):
                task.cancel()
            await asyncio.gather(*loops, stopped, *self._serving.values(), return_exceptions=True)
            await self._hand_over()
        for task in loops:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error
        if self._calls.failed.done():
            self._calls.failed.result()

    async def _hand_over(self) -> None:
        for desk in self._desks.values():
            self._give_up(desk.close(), "the sender stopped")
        for delivery in self._unpublished.give_up():
            self._hand_back(delivery, "the sender stopped")
        await self._calls.finish(STOP_CALL_GRACE_S, STOP_WRITE_GRACE_S)
        for desk in self._desks.values():
            self._give_up(desk.close(), "the sender stopped")
            desk.lines.close()
        try:
            async with asyncio.timeout(STOP_WRITE_GRACE_S):
                await self._flush_hand_backs()
                await self._numbers.release()
        except (*DATABASE_ERRORS, TimeoutError) as error:
            log.warning("stop: leases not handed back, they run out: %s", type(error).__name__)

    async def _every(self, interval_s: float, step: str, act: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await act()
                self.database_ok = True
            except DATABASE_ERRORS as error:
                self.database_ok = False
                self._metrics.database_errors.labels(step).inc()
                log.warning("%s: %s", step, type(error).__name__)
            await asyncio.sleep(interval_s * self._rng.uniform(0.8, 1.0))

    async def _keep_numbers(self) -> None:
        held = await self._numbers.lease()
        self._metrics.credentials_missing.set(len(self._numbers.without_credential))
        for name in self._numbers.without_credential - self._refused:
            log.error("numbers with the credential %s are left alone: it is not in the environment", name)
        self._refused |= self._numbers.without_credential
        for number_id in [number_id for number_id in self._desks if number_id not in held]:
            self._metrics.number_losses.inc()
            log.warning("number %s: not ours any more, or held", number_id)
            await self._drop(number_id)
        for number_id, number in held.items():
            desk = self._desks.get(number_id)
            if desk is not None and (desk.closed or not _renewed(desk.number, number)):
                await self._drop(number_id)
                desk = None
            if desk is None:
                self._open_desk(number)
            else:
                desk.number = number
        self._metrics.numbers.set(len(self._desks))
        await self._flush_hand_backs()

    def _open_desk(self, number: Number) -> None:
        token = self._token_of(number.credential)
        try:
            desk = Desk(
                number,
                token or "",
                messages_per_s=self._settings.messages_per_s,
                in_flight_max=self._settings.in_flight_max,
                queue_wait_max_s=min(
                    self._settings.queue_wait_max_s, self._settings.lease_s * LEASES_LEFT_MIN_RATIO
                ),
                clock=self._clock,
            )
        except ValueError as error:
            if number.number_id not in self._refused:
                self._refused.add(number.number_id)
                log.error("number %s cannot be used (%s): %s", number.number_id, number.credential, error)
            return
        self._desks[number.number_id] = desk
        self._serving[number.number_id] = asyncio.create_task(self._serve(desk))
        log.info("number %s: ours, fencing token %d", number.number_id, number.fencing_token)

    async def _drop(self, number_id: str) -> None:
        desk = self._desks.pop(number_id)
        self._give_up(desk.close(), "the number was lost")
        serving = self._serving.pop(number_id)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)

    def _unusable(self, desk: Desk) -> None:
        """Stops using it now; whether it is lost or held, the next renewal says."""
        self._give_up(desk.close(), "the number cannot be used")

    async def _serve(self, desk: Desk) -> None:
        limiter, number_id = desk.limiter, desk.number.number_id
        while True:
            desk.wake.clear()
            self._give_up(limiter.expired(), "waited too long for the pace")
            tickets = limiter.take() if desk.usable else []
            if tickets:
                self._calls.begin(desk, tickets)
            self._metrics.running.labels(number_id).set(limiter.running)
            self._metrics.queued.labels(number_id).set(limiter.queued)
            self._metrics.reservoir.labels(number_id).set(limiter.reservoir)
            wait_s = limiter.wait_s() if desk.usable else None
            try:
                async with asyncio.timeout(1.0 if wait_s is None else min(wait_s, 1.0)):
                    await desk.wake.wait()
            except TimeoutError:
                continue

    async def _feed(self) -> None:
        poll_s = self._settings.poll_ms / 1000
        while not self._stopping:
            full = False
            try:
                for tenant_id in {desk.number.tenant_id for desk in self._desks.values()}:
                    full = await self._claim(tenant_id) or full
                await self._admit()
                await self._flush_hand_backs()
            except DATABASE_ERRORS as error:
                self._metrics.database_errors.labels("claim").inc()
                log.warning("claim: %s", type(error).__name__)
                await asyncio.sleep(1.0)
            if not full:
                await asyncio.sleep(poll_s)

    async def _claim(self, tenant_id: str) -> bool:
        """Tops up the queues of the tenant's desks; True if there may be more to claim at once."""
        queue_max = self._settings.claim_batch_max
        desks = [desk for desk in self._desks.values() if desk.usable and desk.number.tenant_id == tenant_id]
        room = sum(max(queue_max - desk.limiter.queued, 0) for desk in desks)
        room -= self._unpublished.count(tenant_id)
        if room <= 0 or room < len(desks) * queue_max // 2:
            return False
        leased = await self._ledger.claim(
            tenant_id, limit=room, lease_token=self._new_id(), lease_s=self._settings.lease_s
        )
        reach("sender.claimed")
        self._metrics.claimed.inc(len(leased))
        if self._settings.publish_before_call:
            self._unpublished.add(tenant_id, leased)
        else:
            await self._offer(tenant_id, leased)
        return len(leased) == room

    async def _admit(self) -> None:
        """Hands on what Kafka knows to be leased: a restored ledger learns there who may have been called."""
        if not self._unpublished:
            return
        published, late = self._unpublished.take(await self._ledger.first_unpublished())
        for tenant_id, leased in published:
            await self._offer(tenant_id, leased)
        for delivery in late:
            self._hand_back(delivery, "waited too long to be published")

    async def _offer(self, tenant_id: str, leased: Iterable[Leased]) -> None:
        desks = [desk for desk in self._desks.values() if desk.number.tenant_id == tenant_id]
        impossible: list[Settled] = []
        for delivery in leased:
            ready = await self._prepare(delivery)
            if isinstance(ready, Settled):
                self._metrics.not_sendable.inc()
                log.warning("delivery %s: %s", delivery.delivery_id, ready.reason)
                impossible.append(ready)
            elif open_desks := [desk for desk in desks if desk.usable]:
                min(open_desks, key=lambda desk: desk.limiter.queued).offer(ready)
            else:
                self._give_up([ready], "the number was lost")
        await self._ledger.settle(impossible)

    async def _prepare(self, delivery: Leased) -> Sendable | Settled:
        campaign = await self._ledger.definition(delivery.key.campaign_id, delivery.campaign_version)
        if campaign is None:
            return _failed(delivery, f"version {delivery.campaign_version} of the campaign cannot be read")
        if not delivery.phone:
            return _failed(delivery, "the contact has no phone")
        message = render(campaign.message, delivery.variables, delivery.personal)
        if isinstance(message, NotRenderable):
            return _failed(delivery, message.reason)
        return Sendable(delivery, delivery.phone, message, message.template)

    async def _reclaim(self) -> None:
        leased, calling = await self._ledger.reclaim()
        self._metrics.reclaimed.labels("leased").inc(leased)
        self._metrics.reclaimed.labels("calling").inc(calling)

    async def _count(self) -> None:
        for state, count in (await self._ledger.held_counts()).items():
            self._metrics.deliveries.labels(state).set(count)

    def _give_up(self, sendables: Iterable[Sendable], reason: str) -> None:
        for sendable in sendables:
            self._hand_back(sendable.delivery, reason)

    def _hand_back(self, delivery: Leased, reason: str) -> None:
        self._hand_backs.append(Settled(delivery.key, delivery.lease_token, "waiting", reason))
        self._metrics.handed_back.inc()

    async def _flush_hand_backs(self) -> None:
        settled, self._hand_backs = self._hand_backs, []
        await self._ledger.settle(settled)


def _renewed(old: Number, new: Number) -> bool:
    """True where `new` is the same lease of the same number, only longer."""
    return (old.fencing_token, old.tenant_id, old.base_url, old.credential, old.messages_per_s) == (
        new.fencing_token,
        new.tenant_id,
        new.base_url,
        new.credential,
        new.messages_per_s,
    )


def _failed(delivery: Leased, reason: str) -> Settled:
    return Settled(delivery.key, delivery.lease_token, "failed", reason)
