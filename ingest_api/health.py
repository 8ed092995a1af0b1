"""Liveness, readiness and health of the edge.

| address | answers | for |
|---|---|---|
| `/health/live` | 200 while the event loop runs | what restarts a process |
| `/health/ready` | 200 if a completion is accepted now, else 503 with the reasons | what sends it clients |
| `/health` | the same status, with everything that the process has at hand | people and dashboards |

None reads from a server or has a rate limit: a load balancer reads them often, in an outage too.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import msgspec

from ingest_api.http.lifecycle import Lifecycle, Stage
from ingest_api.http.reply import Receive, Reply, Scope
from ingest_api.kafka.producer import Publisher
from ingest_api.limits.connections import Connections
from ingest_api.limits.limiter import Limiter
from ingest_api.reference.loader import ReferenceData
from pipeline.runtime.health import Readiness

NO_STORE = ((b"cache-control", b"no-store"),)
REASON_CHARS_MAX = 300
NOT_JOINED = "the edge starts: it does not accept connections at the shared port yet"
STOPPING = "the edge stops"


class CacheUse(Protocol):
    """Hits and misses of one cache since the process started."""

    @property
    def hits(self) -> int: ...
    @property
    def misses(self) -> int: ...


# By namespace; called for each request of `/health`, so it must not block.
Caches = Callable[[], Mapping[str, CacheUse]]


@dataclass(frozen=True)
class Observed:
    """The parts that `/health` shows. A further cache adds its `Caches` to the list."""

    lifecycle: Lifecycle
    publisher: Publisher
    reference_data: ReferenceData
    limiter: Limiter
    connections: Connections | None
    page_source: Callable[[], Enum]  # the circuit breaker before PostgreSQL, which only quiz pages need
    caches: Sequence[Caches] = ()


class Health:
    def __init__(self, observed: Observed, number: int | None = None) -> None:
        """`number`: of this edge, where a host has several."""
        self._observed = observed
        self._number = number

    async def live(self, _scope: Scope, _receive: Receive) -> Reply:
        """Answer 200 while the event loop runs: a restart of the edge cannot repair another server."""
        return Reply(200, b'{"live":true}', headers=NO_STORE)

    async def ready(self, _scope: Scope, _receive: Receive) -> Reply:
        now = self.readiness()
        return _answer(now, {"ready": now.ready, "reasons": now.reasons})

    async def health(self, _scope: Scope, _receive: Receive) -> Reply:
        now = self.readiness()
        return _answer(now, {"status": self._status(now), "reasons": now.reasons} | self._measured())

    def readiness(self) -> Readiness:
        """Of the whole edge: a stopping one still answers, but must get no new clients."""
        stage = self._observed.lifecycle.stage
        if stage is Stage.STOPPING:
            return Readiness((STOPPING,))
        parts = self.parts_ready()
        return Readiness((NOT_JOINED,)) if parts.ready and stage is Stage.STARTING else parts

    def parts_ready(self) -> Readiness:
        """Of what an accepted completion needs: Kafka and the reference data."""
        kafka = self._observed.publisher.problem
        reasons = (*self._observed.reference_data.problems, *(() if kafka is None else (kafka,)))
        return Readiness(tuple(reason[:REASON_CHARS_MAX] for reason in reasons))

    def _status(self, now: Readiness) -> str:
        stage = self._observed.lifecycle.stage
        if stage is not Stage.SERVING:
            return stage.value
        return "ready" if now.ready else "not-ready"

    def _measured(self) -> dict[str, object]:
        observed = self._observed
        publisher, connections = observed.publisher, observed.connections
        return {
            "edge": self._number,
            "uptime_s": round(observed.lifecycle.uptime_s, 1),
            "memory": {"resident_bytes": resident_bytes()},
            "connections": None
            if connections is None
            else {"open": connections.open, "max": connections.total_max},
            "requests": {"waiting_for_kafka": publisher.in_flight, "max": publisher.in_flight_max},
            "kafka": {
                "breaker": _state(publisher.breaker.state),
                "reached_s_ago": _ago(publisher.reached_s_ago),
            },
            "valkey": {"reached": observed.limiter.is_shared, "edges": observed.limiter.processes},
            "postgresql": {"breaker": _state(observed.page_source())},
            "reference_data": {
                state.role: {
                    "read": state.problem is None,
                    "lag_records": state.lag_records,
                    "changed_s_ago": _ago(state.changed_s_ago),
                }
                for state in observed.reference_data.states
            },
            "caches": {
                namespace: {"hits": use.hits, "misses": use.misses, "hit_ratio": _hit_ratio(use)}
                for caches in observed.caches
                for namespace, use in caches().items()
            },
        }


def _answer(now: Readiness, content: Mapping[str, object]) -> Reply:
    return Reply(200 if now.ready else 503, msgspec.json.encode(content), headers=NO_STORE)


def _state(breaker: Enum) -> str:
    return breaker.name.lower().replace("_", "-")


def _hit_ratio(use: CacheUse) -> float | None:
    looked_up = use.hits + use.misses
    return round(use.hits / looked_up, 4) if looked_up else None


def _ago(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def resident_bytes() -> int:
    """Return the memory of this process; where the system does not state it, the most that it had."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
