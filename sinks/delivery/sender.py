"""The sender: its share of the numbers, deliveries leased for each, leases of lost senders reclaimed."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import math
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import UUID

from pipeline.campaigns.channels import message_on
from pipeline.campaigns.message import NotRenderable, Sizes, render
from pipeline.runtime.crash_points import reach
from pipeline.runtime.ending import ended, within
from pipeline.topology.file import Sender as SenderSettings
from sinks.actions import Elsewhere
from sinks.delivery.budget.waiting import WAITING_EVERY_S
from sinks.delivery.call import Sendable, Shared
from sinks.delivery.doubt.lookups import AT_ONCE_MAX, FOUND, LOOKUPS_EVERY_S, InDoubt, Lookups
from sinks.delivery.holds import DATABASE_UNAVAILABLE, HoldWatch
from sinks.delivery.ledger import Ledger
from sinks.delivery.metrics import SenderMetrics
from sinks.delivery.number_worker import LEASES_LEFT_MIN_RATIO, NumberWorker
from sinks.delivery.numbers import ROUNDS_PER_LEASE, Number, Numbers
from sinks.delivery.pacing.claims import claim_places
from sinks.delivery.publish_gate import Assigned, PublishGate
from sinks.delivery.routing.router import Router
from sinks.delivery.rows import Key, LearnRecipient, Leased, Result, Settled
from sinks.delivery.state import DeliveryState
from sinks.delivery.writes import DATABASE_ERRORS, Writes
from sinks.outcomes import Sent
from sinks.provider import Callbacks

log = logging.getLogger(__name__)

RECLAIM_EVERY_S = 1.0
ROUTE_EVERY_S = 0.5
GAUGES_EVERY_S = 15.0
HOLDS_EVERY_S = 1.0
# A call that is still in flight this long after SIGTERM is cut off; with the writes the process ends within
# 10 s.
STOP_CALL_GRACE_S = 6.0
STOP_WRITE_GRACE_S = 1.0
STOPPED = "the sender stopped"


class Sender:
    """One process's sending: the loop over its numbers, the claims and their distribution, the reclaim.

    `token_of` returns the secret that a number's credential names, None if there is none. `clock` is
    monotonic and goes on while the process is stopped.
    """

    def __init__(
        self,
        ledger: Ledger,
        numbers: Numbers,
        settings: SenderSettings,
        *,
        router: Router,
        token_of: Callable[[str], str | None],
        clock: Callable[[], float],
        rng: random.Random,
        new_id: Callable[[], UUID],
        metrics: SenderMetrics,
        callbacks_of: Callable[[str], Callbacks] = lambda _provider: Callbacks(),
    ) -> None:
        self._ledger = ledger
        self._numbers = numbers
        self._settings = settings
        self._router = router
        self._token_of = token_of
        self._rng = rng
        self._new_id = new_id
        self._metrics = metrics
        self._writes = Writes(ledger, metrics, lease_s=settings.lease_s)
        self._shared = Shared(settings, self._writes, clock, rng, new_id, metrics, callbacks_of)
        self._workers: dict[str, NumberWorker] = {}
        self._retiring: dict[str, NumberWorker] = {}  # until their calls end
        self._retirements: dict[str, asyncio.Task[None]] = {}
        self._leaving: set[str] = set()  # numbers whose leases end once their workers are retired
        self._refused: set[str] = set()  # credentials and numbers that were complained about
        self._gate = PublishGate(clock, settings.lease_s * LEASES_LEFT_MIN_RATIO)
        self._lookups = Lookups(
            self._claim_lookups, self._record_found, settings.lookup_timeout_s, metrics.lookups
        )
        self._holds = HoldWatch(metrics.held)
        self._stopping = False
        self.database_ok = False

    @property
    def numbers_in_use(self) -> int:
        return sum(worker.usable for worker in self._workers.values())

    async def run(self, stop: asyncio.Event) -> None:
        """Sends until `stop`; then finishes calls in flight, hands everything else back, and returns.

        Raises what a task of its own raised unexpectedly: the process then better starts again.
        """
        feeding = asyncio.create_task(self._feed())
        round_s = self._settings.number_lease_s / ROUNDS_PER_LEASE
        loops = [
            feeding,
            asyncio.create_task(self._every(round_s, "numbers", self._keep_numbers)),
            asyncio.create_task(self._every(ROUTE_EVERY_S, "route", self._route)),
            asyncio.create_task(self._every(ROUTE_EVERY_S, "reroute", self._reroute)),
            asyncio.create_task(self._every(RECLAIM_EVERY_S, "reclaim", self._reclaim)),
            asyncio.create_task(self._every(GAUGES_EVERY_S, "gauges", self._count)),
            asyncio.create_task(self._every(HOLDS_EVERY_S, "holds", self._check_holds)),
            asyncio.create_task(self._every(WAITING_EVERY_S, "budgets", self._budgets)),
            asyncio.create_task(self._every(LOOKUPS_EVERY_S, "lookups", self._look_up)),
        ]
        stopped = asyncio.create_task(stop.wait())
        ends: list[asyncio.Future[Any]] = [*loops, stopped]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._stopping = True
            # A claim that is cut off leaves its leases to run out.
            await asyncio.wait([feeding], timeout=STOP_WRITE_GRACE_S)
            await ended([*loops, stopped])
            await self._hand_over()
        for task in loops:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error
        self._raise_failures()

    def _raise_failures(self) -> None:
        for worker in (*self._workers.values(), *self._retiring.values()):
            worker.raise_failure()
        for task in self._retirements.values():
            if task.done() and not task.cancelled():
                task.result()

    async def _hand_over(self) -> None:
        """Ends every call and lease, within the graces of a stop."""
        waiting = [self._handed_back(delivery, STOPPED) for delivery in self._gate.give_up()]
        for task in self._retirements.values():
            task.cancel()
        workers = [*self._workers.values(), *self._retiring.values()]
        await asyncio.gather(
            *(worker.finish(STOPPED, STOP_CALL_GRACE_S, STOP_WRITE_GRACE_S) for worker in workers),
            return_exceptions=True,
        )
        try:
            await within(STOP_WRITE_GRACE_S, self._leave(waiting))
        except (*DATABASE_ERRORS, TimeoutError) as error:
            log.warning("stop: numbers not released (%s): their leases run out", type(error).__name__)

    async def _leave(self, waiting: Sequence[Settled]) -> None:
        await self._writes.settle(waiting)
        await self._numbers.leave()

    async def _every(self, interval_s: float, step: str, act: Callable[[], Awaitable[None]]) -> None:
        while not self._stopping:
            try:
                await act()
                self.database_ok = True
            except DATABASE_ERRORS as error:
                self.database_ok = False
                self._metrics.database_errors.labels(step).inc()
                log.warning("%s: %s", step, type(error).__name__)
            await asyncio.sleep(interval_s * self._rng.uniform(0.8, 1.0))

    async def _keep_numbers(self) -> None:
        holding = await self._numbers.lease(self._leaving)
        self._metrics.credentials_missing.set(len(self._numbers.without_credential))
        for name in self._numbers.without_credential - self._refused:
            log.error("numbers with the credential %s are left alone: it is not in the environment", name)
        self._refused |= self._numbers.without_credential
        for number_id in [number_id for number_id in self._workers if number_id not in holding.numbers]:
            self._metrics.number_losses.inc()
            log.warning("number %s: its lease was lost, or it is held", number_id)
            self._retire(number_id, "the number was lost")
        for number_id in holding.give_up:
            log.info("number %s: given up, more than this process's share", number_id)
            self._leaving.add(number_id)
            self._retire(number_id, "the number goes to another sender")
        for number_id, number in holding.numbers.items():
            if number_id not in self._leaving:
                self._keep(number_id, number)
        self._metrics.numbers.set(len(self._workers))

    def _keep(self, number_id: str, number: Number) -> None:
        """Renews the number's worker, or makes one once the calls of the one before have ended."""
        worker = self._workers.get(number_id)
        if worker is not None and not worker.lost and _renewed(worker.number, number):
            worker.renew(number)
            return
        if worker is not None:
            self._retire(number_id, "the number was lost")
        if number_id in self._retirements:
            return
        try:
            worker = NumberWorker(number, self._token_of(number.credential) or "", self._shared)
        except ValueError as error:
            if number_id not in self._refused:
                self._refused.add(number_id)
                log.error("number %s cannot be used (%s): %s", number_id, number.credential, error)
            return
        worker.start()
        self._workers[number_id] = worker
        log.info("number %s: leased, fencing token %d", number_id, number.fencing_token)

    def _retire(self, number_id: str, reason: str) -> None:
        """The number gets nothing more from here; its lease ends with its last call, if it is `_leaving`."""
        if number_id in self._retirements:
            return
        if (worker := self._workers.pop(number_id, None)) is not None:
            self._retiring[number_id] = worker
        self._retirements[number_id] = asyncio.create_task(self._retired(number_id, reason))

    async def _retired(self, number_id: str, reason: str) -> None:
        if (worker := self._retiring.get(number_id)) is not None:
            await worker.retire(reason)
        try:
            if number_id in self._leaving:
                await self._numbers.release(number_id)
        except DATABASE_ERRORS as error:
            log.warning("number %s: not released (%s): its lease runs out", number_id, type(error).__name__)
        self._leaving.discard(number_id)
        self._retiring.pop(number_id, None)
        del self._retirements[number_id]

    async def _feed(self) -> None:
        poll_s = self._settings.poll_ms / 1000
        while not self._stopping:
            self._raise_failures()
            full = False
            try:
                full = await self._claim()
                await self._admit()
            except DATABASE_ERRORS as error:
                self._metrics.database_errors.labels("claim").inc()
                log.warning("cannot claim deliveries (%s); retrying in 1 s", type(error).__name__)
                await asyncio.sleep(1.0)
            if not full:
                await asyncio.sleep(poll_s)

    async def _claim(self) -> bool:
        """Leases what the numbers can send soon; True if there may be more to claim at once."""
        rooms = [worker.room(self._gate.count(number_id)) for number_id, worker in self._workers.items()]
        places = {worker.number.number_id: room for worker, room in claim_places(rooms).items()}
        if not places:
            return False
        leased = await self._ledger.claim(places, lease_token=self._new_id(), lease_s=self._settings.lease_s)
        reach("sender.claimed")
        self._metrics.claimed.inc(len(leased))
        assigned = [(delivery.route, delivery) for delivery in leased]
        if self._settings.publish_before_call:
            self._gate.add(assigned)
        else:
            await self._offer(assigned)
        found = Counter(delivery.route for delivery in leased)
        return any(found[number_id] == room for number_id, room in places.items())

    async def _admit(self) -> None:
        """Hands on what is in Kafka as leased: a restored ledger learns there who may have been called."""
        if not self._gate:
            return
        published, late = self._gate.take(await self._ledger.unpublished(self._gate.event_ranges()))
        await self._offer(published)
        if late:
            await self._writes.settle(
                [self._handed_back(delivery, "waited too long to be published") for delivery in late]
            )

    async def _offer(self, assigned: Sequence[Assigned]) -> None:
        over: list[Settled] = []
        for number_id, delivery in assigned:
            worker = self._workers.get(number_id)
            if worker is None:
                over.append(self._handed_back(delivery, "the number was lost"))
                continue
            ready = await self._prepare(delivery, worker.sizes)
            if isinstance(ready, Settled):
                self._metrics.not_sendable.inc()
                log.warning("delivery %s: %s", delivery.delivery_id, ready.reason)
                over.append(ready)
            else:
                worker.offer(ready)
        await self._ledger.settle(over)

    def _handed_back(self, delivery: Leased, reason: str) -> Settled:
        self._metrics.handed_back.inc()
        return Settled(delivery.key, delivery.lease_token, DeliveryState.WAITING, reason)

    async def _prepare(self, delivery: Leased, sizes: Sizes) -> Sendable | Settled:
        campaign = await self._ledger.definition(delivery.key.campaign_id, delivery.campaign_version)
        if campaign is None:
            return _failed(delivery, f"version {delivery.campaign_version} of the campaign cannot be read")
        to = delivery.personal.email if delivery.channel == "email" else delivery.phone
        if not to:
            address = "e-mail address" if delivery.channel == "email" else "phone"
            return _failed(delivery, f"the contact has no {address}", "channel")
        of_campaign = message_on(campaign, delivery.channel)
        if of_campaign is None:
            return _failed(delivery, f"the campaign has no message on {delivery.channel}", "channel")
        message = render(
            of_campaign,
            delivery.variables,
            delivery.personal,
            sizes,
            with_fallbacks=delivery.with_fallbacks,
        )
        if isinstance(message, NotRenderable):
            return _failed(delivery, message.reason, "channel")
        for change in message.changes:
            self._metrics.values_changed.labels(change).inc()
        return Sendable(delivery, to, message, of_campaign)

    async def _route(self) -> None:
        await self._router.route_unrouted()

    async def _reroute(self) -> None:
        for number_id, moved in (await self._router.follow_changes()).items():
            self._metrics.rerouted.labels(number_id).inc(moved)
            log.warning("number %s: %d waiting deliveries moved to other numbers", number_id, moved)

    async def _reclaim(self) -> None:
        leased, calling = await self._ledger.reclaim()
        self._metrics.reclaimed.labels(DeliveryState.LEASED).inc(leased)
        self._metrics.reclaimed.labels(DeliveryState.CALLING).inc(calling)

    async def _look_up(self) -> None:
        await self._lookups.round(self._workers)

    async def _claim_lookups(self, numbers: Sequence[str]) -> Sequence[InDoubt]:
        settings = self._settings
        return await self._ledger.claim_lookups(
            numbers, limit=AT_ONCE_MAX, lookups_max=settings.lookups_max, after_s=settings.lookup_after_s
        )

    async def _record_found(self, one: InDoubt, found: Sent) -> None:
        ids = found.recipients if one.phone else ()
        learned = (LearnRecipient(one.tenant_id, one.contact_id, one.phone or "", ids),) if ids else ()
        key = Key(one.campaign_month, one.campaign_id, one.contact_id)
        message_id = found.provider_message_id
        await self._writes.record(
            Result(
                key,
                one.attempt_id,
                DeliveryState.SENT,
                "sent",
                FOUND,
                provider_message_id=message_id,
                effects=learned,
            )
        )

    async def _check_holds(self) -> None:
        """A sender that may not send says why, in its log and in a metric."""
        try:
            self._holds.observe(await self._ledger.holds())
        except DATABASE_ERRORS:
            self._holds.observe([DATABASE_UNAVAILABLE])
            raise

    async def _budgets(self) -> None:
        metrics = self._metrics
        for gauge in (metrics.budget_limit, metrics.budget_ends_in_s):
            gauge.clear()  # of a budget that has no limit any more
        for one in await self._ledger.budgets():
            metrics.budget_used.labels(one.budget_id).set(one.used)
            metrics.budget_waiting.labels(one.budget_id).set(one.waiting)
            if one.limit is not None:
                metrics.budget_limit.labels(one.budget_id).set(one.limit)
                ends_in_s = math.inf if one.ends_in_s is None else one.ends_in_s
                metrics.budget_ends_in_s.labels(one.budget_id).set(ends_in_s)

    async def _count(self) -> None:
        for state, count in (await self._ledger.open_counts()).items():
            self._metrics.deliveries.labels(state).set(count)


def _renewed(old: Number, new: Number) -> bool:
    """True where `new` is the same lease of the same number, only longer."""
    renewed = dataclasses.replace(
        old, usable_until=new.usable_until, paused_s=new.paused_s, rested_s=new.rested_s
    )
    return renewed == new


def _failed(delivery: Leased, reason: str, elsewhere: Elsewhere = "nowhere") -> Settled:
    return Settled(delivery.key, delivery.lease_token, DeliveryState.FAILED, reason, elsewhere)
