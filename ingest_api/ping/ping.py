"""Answers a page that is open with the time of its next ping."""

from __future__ import annotations

from collections.abc import Callable

from ingest_api.health import NO_STORE
from ingest_api.http.cors import PREFLIGHT
from ingest_api.http.reply import Receive, Reply, Scope
from ingest_api.ping.metrics import EXPECTED, INTERVAL_S
from ingest_api.ping.schedule import PingSchedule


class Ping:
    """A blocked address is answered with the longest interval, and books no time that others could have.

    Not with 429: pages that are open would try again sooner, and an answer costs no more than a rejection.
    """

    def __init__(
        self, schedule: PingSchedule, load: Callable[[], float], is_blocked: Callable[[Scope], bool]
    ) -> None:
        """`load` returns how full this process is, 0 to 1."""
        self._schedule = schedule
        self._load = load
        self._is_blocked = is_blocked
        EXPECTED.set_function(lambda: schedule.booked)

    async def ping(self, scope: Scope, _receive: Receive) -> Reply:
        """The body is not read: a ping carries nothing."""
        if scope["method"] == "OPTIONS":
            return PREFLIGHT
        blocked = self._is_blocked(scope)
        next_in_s = self._schedule.longest_s if blocked else self._schedule.next_in_s(self._load())
        INTERVAL_S.observe(next_in_s)
        return Reply(200, b'{"next_ping_ms":%d}' % (next_in_s * 1000), headers=NO_STORE)
