"""Ends messages that have waited too long or are too many, and shows the backlog. On a connection of its own.

No tenant has more than `pending_of_tenant_max` messages that wait. Beyond it the oldest of its largest
backlogs are given up: an endpoint that takes nothing neither fills the table nor costs the tenant's other
endpoints anything. The bound is checked every few seconds: in between a tenant may exceed it.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import psycopg

from pipeline.runtime.backoff import Backoff
from pipeline.topology.file import Webhooks
from sinks.outbound import metrics
from sinks.postgres.connect import Connection
from sinks.postgres.kept_connection import KeptConnection
from sinks.postgres.named_rows import fetch
from sinks.postgres.poison import describe, is_passing
from sinks.postgres.queries import load_queries

log = logging.getLogger(__name__)

QUERIES = load_queries(Path(__file__).with_name("maintenance.sql"))
EVERY_S = 5.0
EXPIRE_ROWS = 1_000
GIVE_UP_ROWS = 2_000  # of one step; steps follow each other until the bound holds
WAITING_SHOWN_MAX = 100_000
LOCK_ID = 7_165_021  # of the advisory lock of the one process that gives up
NO_PERMIT = "the database has no sending permit (docs/dead_letters.md): webhooks wait until it is granted"
SENDS_AGAIN = "the database has the sending permit again: webhooks are sent"


class Waiting(NamedTuple):
    """How many messages of an endpoint wait. A deleted endpoint may still have some."""

    endpoint_id: str
    tenant_id: str
    messages: int


class _Backlog(NamedTuple):
    waiting: int
    oldest_s: float
    failing_s: float
    late_s: float
    permitted: bool


class Maintenance:
    """`run` in a thread of its own."""

    def __init__(
        self, connect: Callable[[], Connection], limits: Webhooks, backoff: Backoff | None = None
    ) -> None:
        self._database = KeptConnection(connect)
        self._limits = limits
        self._backoff = backoff or Backoff()
        self._permitted = True
        self.holding = True  # until the first access to the database

    def run(self, stop: threading.Event) -> None:
        """Until `stop`. Raises every error that is not transient."""
        wait_s = 0.0
        try:
            while not stop.wait(wait_s):
                wait_s = self._step(stop)
        finally:
            self._database.close()

    def _step(self, stop: threading.Event) -> float:
        try:
            self.expire()
            while not stop.is_set() and self.give_up():
                pass
            self.show()
        except psycopg.Error as error:
            self._database.close()
            if not is_passing(error):
                raise
            self.holding = True
            wait_s = self._backoff.after_failure_s()
            metrics.DATABASE_ERRORS.inc()
            log.warning("no maintenance of webhooks (%s); retrying in %.1f s", describe(error), wait_s)
            return wait_s
        self._backoff.after_success()
        self.holding = False
        return EVERY_S

    def expire(self) -> None:
        """One step; what has waited for `keep_h` has failed."""
        given = {"hours": self._limits.keep_h, "rows": EXPIRE_ROWS}
        metrics.ENDED.labels("expired").inc(self._database().execute(QUERIES["expire"], given).rowcount)

    def give_up(self) -> bool:
        """One step; return whether a tenant may still have too many."""
        database = self._database()
        with database.transaction():
            if database.execute(QUERIES["try_lock"], [LOCK_ID]).fetchone() != (True,):
                return False
            waiting = fetch(database, QUERIES["waiting"], Waiting)
            metrics.WAITING_OF_TENANT.set(max(_of_tenants(waiting).values(), default=0))
            given_up = False
            for endpoint_id, rows in surplus(waiting, self._limits.pending_of_tenant_max).items():
                given = {
                    "endpoint": endpoint_id,
                    "rows": min(rows, GIVE_UP_ROWS),
                    "why": f"given up: more than {self._limits.pending_of_tenant_max} messages waited",
                }
                row = database.execute(QUERIES["give_up"], given).fetchone()
                count = 0 if row is None else int(str(row[0]))
                metrics.ENDED.labels("given_up").inc(count)
                given_up |= 0 < count < rows
        return given_up

    def show(self) -> None:
        (found,) = fetch(self._database(), QUERIES["backlog"], _Backlog, {"rows": WAITING_SHOWN_MAX})
        metrics.WAITING.set(found.waiting)
        metrics.OLDEST_S.set(found.oldest_s)
        metrics.FAILING_S.set(found.failing_s)
        metrics.LATE_S.set(found.late_s)
        metrics.PERMITTED.set(found.permitted)
        if found.permitted != self._permitted:
            self._permitted = found.permitted
            log.warning("%s", SENDS_AGAIN if found.permitted else NO_PERMIT)


def surplus(waiting: Sequence[Waiting], of_tenant_max: int) -> dict[str, int]:
    """How many messages of which endpoints are too many. Pure.

    A tenant's largest backlogs are cut to one size, so that its smaller ones stay as they are.
    """
    taken: dict[str, int] = {}
    totals = _of_tenants(waiting)
    for tenant_id in (tenant for tenant, total in totals.items() if total > of_tenant_max):
        own = sorted((one for one in waiting if one.tenant_id == tenant_id), key=lambda one: one.messages)
        left = of_tenant_max
        for place, one in enumerate(own):
            share = left // (len(own) - place)
            kept = min(one.messages, share)
            left -= kept
            if one.messages > kept:
                taken[one.endpoint_id] = one.messages - kept
    return taken


def _of_tenants(waiting: Sequence[Waiting]) -> dict[str, int]:
    totals: defaultdict[str, int] = defaultdict(int)
    for one in waiting:
        totals[one.tenant_id] += one.messages
    return totals
