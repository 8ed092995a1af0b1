"""Transactions of one tenant each, on a pool of connections that are subject to row-level security.

The functions of the catalogue, which operators' commands call too, are synchronous. They run in as many
threads as the pool has connections; the event loop only waits. Everything that a transaction needs is set in
it, so that nothing of a session counts: PgBouncer may give each transaction another connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import psycopg
from psycopg_pool import ConnectionPool

from ingest_api.tenants.pool.metrics import CONNECTIONS, WAITING
from pipeline.topology.file import TenantPool
from sinks.postgres.connect import (
    CONNECT_TIMEOUT_S,
    KEEPALIVE_IDLE_S,
    KEEPALIVE_INTERVAL_S,
    KEEPALIVES_MAX,
    UNACKNOWLEDGED_MAX_MS,
    Connection,
    session_parameters,
)
from sinks.postgres.isolation.apply import require_subject
from sinks.postgres.isolation.catalogue import TENANT_SETTING

SET_TRANSACTION = (
    "SELECT set_config(name, value, true) FROM unnest(%s::text[], %s::text[]) AS s (name, value)"
)
T = TypeVar("T")


class NotChecked(psycopg.OperationalError):
    """It is not known yet whether the database keeps tenants apart for this login."""


class Database:
    """`start` before the first transaction. `url` is that of a role without power over policies."""

    def __init__(self, url: str, limits: TenantPool) -> None:
        self._limits = limits
        self._is_subject = False
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            url,
            min_size=limits.connections_min,
            max_size=limits.connections_max,
            max_lifetime=limits.lifetime_s,
            timeout=limits.wait_s,
            check=ConnectionPool.check_connection,
            open=False,
            name="tenants",
            kwargs={
                "autocommit": True,
                "prepare_threshold": None,  # a prepared statement would be the session's
                "application_name": "quizstream tenants",
                "connect_timeout": CONNECT_TIMEOUT_S,
                "keepalives_idle": KEEPALIVE_IDLE_S,
                "keepalives_interval": KEEPALIVE_INTERVAL_S,
                "keepalives_count": KEEPALIVES_MAX,
                "tcp_user_timeout": UNACKNOWLEDGED_MAX_MS,
            },
        )
        self._threads = ThreadPoolExecutor(limits.connections_max, thread_name_prefix="tenants")
        CONNECTIONS.set_function(lambda: float(self._pool.get_stats().get("pool_size", 0)))
        WAITING.set_function(lambda: float(self._pool.get_stats().get("requests_waiting", 0)))

    def start(self) -> None:
        """Raise `NotIsolated` where the role is not bound by policies. Connects in the background."""
        self._pool.open(wait=False)

    def check(self) -> str | None:
        """Return why no transaction is possible now, else None. Raises `NotIsolated`. Blocks."""
        try:
            with self._pool.connection() as connection:
                require_subject(connection)
            self._is_subject = True
        except psycopg.OperationalError as error:  # a time-out of the pool too
            return f"the database does not answer ({type(error).__name__})"
        return None

    async def run(self, tenant_id: str, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction of the tenant, and return its result once it is committed.

        Raises `NotChecked` before `check` has found that policies bind the role.
        """
        if not self._is_subject:
            raise NotChecked("the login was not checked yet")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self.transaction, tenant_id, work)

    def transaction(self, tenant_id: str, work: Callable[[Connection], T]) -> T:
        names, values = session_parameters(self._limits.statement_timeout_ms)
        with self._pool.connection() as connection, connection.transaction():
            connection.execute(SET_TRANSACTION, [[*names, TENANT_SETTING], [*values, tenant_id]])
            return work(connection)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._pool.close(timeout=1.0)
