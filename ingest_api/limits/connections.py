"""Limits on open connections: of one address, and of all, so that descriptors are left for the rest."""

from __future__ import annotations

import logging
import resource
from collections.abc import Collection
from typing import Protocol

from ingest_api.http.lingering import Places
from ingest_api.http.metrics import (
    CONNECTIONS,
    CONNECTIONS_MAX,
    CONNECTIONS_REJECTED,
    IDLE_CONNECTIONS_CLOSED,
)
from ingest_api.http.problems import OVERLOADED, TOO_MANY_CONNECTIONS, Kind
from ingest_api.limits.sources import Sources
from pipeline.topology.file import Connections as Limits

log = logging.getLogger(__name__)

CLOSED_AT_ONCE = 20  # idle ones are closed a twentieth of all at a time: a search serves many clients


class Connection(Protocol):
    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered and the connection is not closing."""

    def close(self) -> None: ...


def descriptors() -> int:
    """Raise this process's limit of open files as far as it may, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


class Connections:
    """Counts open connections. All but idle ones of a full process are kept; new ones may be rejected."""

    def __init__(self, limits: Limits, sources: Sources, descriptors: int) -> None:
        self._sources = sources
        self._per_address_max = limits.per_address_max
        self._total_max = max(1, min(limits.total_max, descriptors - limits.descriptors_reserve))
        self.lingering = Places()
        self._open = 0
        self._leaving: set[Connection] = set()
        self._by_address: dict[str, int] = {}
        CONNECTIONS.set_function(lambda: self._open)
        CONNECTIONS_MAX.set(self._total_max)

    @property
    def open(self) -> int:
        return self._open

    @property
    def total_max(self) -> int:
        return self._total_max

    def opened(self, host: str, connection: Connection, connections: Collection[Connection]) -> Kind | None:
        """Count a new one of all `connections`; return the problem with which it must be rejected.

        A rejected connection, too, must be reported as closed.
        """
        self._open += 1
        source = self._sources.of_host(host)
        of_address = self._by_address[source.key] = self._by_address.get(source.key, 0) + 1
        if of_address > self._per_address_max and not (source.trusted or source.proxy):
            CONNECTIONS_REJECTED.labels("address").inc()
            return TOO_MANY_CONNECTIONS
        if self._open - len(self._leaving) > self._total_max and not self._close_idle(
            connection, connections
        ):
            CONNECTIONS_REJECTED.labels("total").inc()
            log.warning("all %d connections are in use; new ones are rejected", self._total_max)
            return OVERLOADED
        return None

    def closed(self, host: str, connection: Connection) -> None:
        self._open -= 1
        self._leaving.discard(connection)
        key = self._sources.of_host(host).key
        left = self._by_address[key] - 1
        if left:
            self._by_address[key] = left
        else:
            del self._by_address[key]

    def _close_idle(self, new: Connection, connections: Collection[Connection]) -> bool:
        wanted = self._total_max // CLOSED_AT_ONCE + 1
        found: list[Connection] = []
        for connection in connections:
            if connection.is_idle and connection is not new:
                found.append(connection)
                if len(found) == wanted:
                    break
        for connection in found:
            connection.close()
        self._leaving.update(found)
        if found:
            IDLE_CONNECTIONS_CLOSED.inc(len(found))
            log.warning("all %d connections are open; idle ones are closed", self._total_max)
        return bool(found)
