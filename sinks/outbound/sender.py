"""Sends messages to endpoints: claims what is due, calls, settles. One task for each call in flight.

Delivered at least once: a message whose process is lost is sent again after its lease, under the same id. An
endpoint and a tenant have bounded numbers of calls in flight, so that slow endpoints delay no other tenant.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TypeVar

import psycopg
from standardwebhooks import Webhook

from pipeline.runtime.backoff import Backoff
from pipeline.runtime.clock import now_s
from pipeline.topology.file import Webhooks
from sinks.outbound import metrics
from sinks.outbound.caller import Caller
from sinks.outbound.circuits import Circuits
from sinks.outbound.places import Places, Wanted
from sinks.outbound.queue import Claimed, Delivered, DueEndpoint, Queue, Released, Result
from sinks.outbound.retries import failed, result_of
from sinks.postgres.catalogue.webhooks.secrets import secret_of
from sinks.postgres.poison import describe, is_passing

log = logging.getLogger(__name__)

STOP_LOOK_S = 0.1
STOP_CALLS_S = 4.0  # for calls in flight at a stop; what has no answer then is sent again
UNEXPECTED = "the call could not be made"  # of an error in the sender, which its log has
USER_AGENT = "quizstream-webhooks/1"
T = TypeVar("T")


class Sender:
    """`run` in a thread of its own. `clock`: monotonic seconds; `wall_clock`: seconds since the epoch."""

    def __init__(
        self,
        limits: Webhooks,
        key: bytes,
        queue: Queue,
        *,
        make_caller: Callable[[Webhooks], Caller] = Caller,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = now_s,
        rng: random.Random | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self._limits = limits
        self._key = key
        self._queue = queue
        self._make_caller = make_caller
        self._clock = clock
        self._wall_clock = wall_clock
        self._rng = rng or random.Random()
        self._backoff = backoff or Backoff()
        self._circuits = Circuits(limits.circuit)
        self._places = Places(limits.in_flight_of_tenant_max)
        self._running: Counter[str] = Counter()
        self._running_of_tenant: Counter[str] = Counter()
        self._tasks: dict[asyncio.Task[None], Claimed] = {}
        self._results: list[Result] = []
        self.holding = True  # until the first access to the database

    def run(self, stop: threading.Event) -> None:
        """Until `stop`. Raises every error that is not transient; the process should then end."""
        asyncio.run(self._run(stop))

    async def _run(self, stop: threading.Event) -> None:
        loop = asyncio.get_running_loop()
        threads = ThreadPoolExecutor(self._limits.in_flight_total_max, thread_name_prefix="resolve")
        loop.set_default_executor(threads)
        self._wake = asyncio.Event()
        self._database = ThreadPoolExecutor(1, thread_name_prefix="webhook-queue")
        caller = self._make_caller(self._limits)
        try:
            while not stop.is_set():
                await self._wait(stop, await self._step(caller))
            await self._finish()
        finally:
            await caller.close()
            await self._in_database(self._queue.disconnect)
            self._database.shutdown()

    async def _step(self, caller: Caller) -> float:
        """Settle, claim and start calls; return the seconds until the next step, if nothing ends before."""
        try:
            await self._settle()
            due = {one.endpoint_id: one for one in await self._in_database(self._queue.due)}
            rooms = self._rooms(due)
            if rooms:
                for message in await self._in_database(self._queue.claim, rooms, self._limits.lease_s):
                    self._start(caller, due[message.endpoint_id], message)
            metrics.CIRCUITS_OPEN.set(self._circuits.open_at(self._clock()))
        except psycopg.Error as error:
            return await self._set_back(error)
        self._backoff.after_success()
        self.holding = False
        metrics.HOLDING.set(0)
        return self._limits.poll_ms / 1000

    def _rooms(self, due: dict[str, DueEndpoint]) -> dict[str, int]:
        now = self._clock()
        wanted = {}
        for endpoint in due.values():
            allowed = self._circuits.room(endpoint.endpoint_id, self._limits.in_flight_max, now)
            room = allowed - self._running[endpoint.endpoint_id]
            wanted[endpoint.endpoint_id] = Wanted(endpoint.tenant_id, room)
        free = self._limits.in_flight_total_max - len(self._tasks)
        return self._places.deal(wanted, self._running_of_tenant, free)

    def _start(self, caller: Caller, endpoint: DueEndpoint, message: Claimed) -> None:
        self._running[message.endpoint_id] += 1
        self._running_of_tenant[message.tenant_id] += 1
        task = asyncio.create_task(self._send(caller, endpoint, message))
        self._tasks[task] = message
        metrics.IN_FLIGHT.set(len(self._tasks))
        task.add_done_callback(self._ended)

    async def _send(self, caller: Caller, endpoint: DueEndpoint, message: Claimed) -> None:
        began_s = self._clock()
        headers = self._signed(endpoint, message)
        answer = await caller.post(endpoint.url, headers, message.content.encode(), message.tenant_id)
        metrics.CALL_S.observe(self._clock() - began_s)
        result = result_of(message, endpoint.url, answer, self._limits, self._rng)
        if isinstance(result, Delivered):
            self._circuits.succeeded(message.endpoint_id)
            metrics.ATTEMPTS.labels("delivered").inc()
        else:
            self._circuits.failed(message.endpoint_id, self._clock())
            metrics.ATTEMPTS.labels("failed").inc()
        self._results.append(result)

    def _signed(self, endpoint: DueEndpoint, message: Claimed) -> dict[str, str]:
        """During a rotation both secrets sign, so that a receiver with either accepts it."""
        at = datetime.fromtimestamp(int(self._wall_clock()), UTC)
        salts = [salt for salt in (endpoint.salt, endpoint.previous_salt) if salt is not None]
        signatures = [
            Webhook(secret_of(self._key, endpoint.endpoint_id, salt)).sign(
                message.message_id, at, message.content
            )
            for salt in salts
        ]
        return {
            "content-type": "application/json",
            "user-agent": USER_AGENT,
            "webhook-id": message.message_id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": " ".join(signatures),
        }

    def _ended(self, task: asyncio.Task[None]) -> None:
        message = self._tasks.pop(task)
        self._running[message.endpoint_id] -= 1
        self._running_of_tenant[message.tenant_id] -= 1
        self._running += Counter()  # without those that have none
        self._running_of_tenant += Counter()
        if task.cancelled():
            self._results.append(Released(message))
        elif (error := task.exception()) is not None:
            log.error("a call failed in an unexpected way", exc_info=error)
            self._circuits.failed(message.endpoint_id, self._clock())
            metrics.ATTEMPTS.labels("failed").inc()
            self._results.append(failed(message, UNEXPECTED, self._limits, self._rng))
        metrics.IN_FLIGHT.set(len(self._tasks))
        self._wake.set()

    async def _settle(self) -> None:
        results, self._results = self._results, []
        try:
            await self._in_database(self._queue.settle, results)
        except psycopg.Error:
            self._results = results + self._results
            raise

    async def _set_back(self, error: psycopg.Error) -> float:
        await self._in_database(self._queue.disconnect)
        if not is_passing(error):
            raise error
        wait_s = self._backoff.after_failure_s()
        log.warning("no access to the queue of webhooks (%s); retrying in %.1f s", describe(error), wait_s)
        metrics.DATABASE_ERRORS.inc()
        metrics.HOLDING.set(1)
        self.holding = True
        return wait_s

    async def _wait(self, stop: threading.Event, seconds: float) -> None:
        until = self._clock() + seconds
        while not stop.is_set() and (left := until - self._clock()) > 0:
            try:
                await asyncio.wait_for(self._wake.wait(), min(left, STOP_LOOK_S))
            except TimeoutError:
                continue
            self._wake.clear()
            if not self.holding:
                return

    async def _finish(self) -> None:
        """Wait for calls in flight, release the others, and settle; without the database leases end it."""
        if self._tasks:
            await asyncio.wait([*self._tasks], timeout=STOP_CALLS_S)
        unfinished = [*self._tasks]
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)
        await asyncio.sleep(0)  # the callbacks of the tasks
        try:
            await self._settle()
        except psycopg.Error as error:
            log.warning("results of calls could not be stored (%s): they are sent again", describe(error))

    async def _in_database(self, work: Callable[..., T], *given: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._database, work, *given)
