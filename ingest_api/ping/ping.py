"""Answers a page that is open with the time of its next ping."""

from __future__ import annotations

from collections.abc import Callable

from ingest_api.health import NO_STORE
from ingest_api.http.cors import PREFLIGHT
from ingest_api.http.reply import Receive, Reply, Scope
from ingest_api.ping.metrics import EXPECTED, INTERVAL_S
from ingest_api.ping.schedule import PingSchedule


class Ping:
    def __init__(self, schedule: PingSchedule, load: Callable[[], float]) -> None:
        """`load` returns how full this process is, 0 to 1."""
        self._schedule = schedule
        self._load = load
        EXPECTED.set_function(lambda: schedule.booked)

    async def ping(self, scope: Scope, _receive: Receive) -> Reply:
        """The body is not read: a ping carries nothing."""
        if scope["method"] == "OPTIONS":
            return PREFLIGHT
        next_in_s = self._schedule.next_in_s(self._load())
        INTERVAL_S.observe(next_in_s)
        return Reply(200, b'{"next_ping_ms":%d}' % (next_in_s * 1000), headers=NO_STORE)
