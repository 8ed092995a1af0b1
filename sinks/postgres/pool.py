"""The sender's connections to Postgres: one pool on the event loop, with the time-outs of every other
process.
"""

from __future__ import annotations

import select
from typing import Any

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from sinks.postgres import connect

Pool = AsyncConnectionPool[AsyncConnection[tuple[Any, ...]]]

WAIT_TIMEOUT_S = 5.0  # for a free connection: longer, and the database is as good as away


def open_pool(database_url: str, *, connections_max: int, statement_timeout_ms: int) -> Pool:
    """A pool that is not open yet: `await pool.open()`. Connections are in autocommit.

    Raises `BadDatabaseUrl`: the pool itself would retry it for ever.
    """
    connect.require_url(database_url)

    async def configure(connection: AsyncConnection[tuple[Any, ...]]) -> None:
        await connection.execute(connect.SET_SESSION, connect.session_parameters(statement_timeout_ms))

    return AsyncConnectionPool(
        database_url,
        min_size=2,
        max_size=max(connections_max, 2),
        open=False,
        name="sender",
        timeout=WAIT_TIMEOUT_S,
        configure=configure,
        check=_check,
        kwargs={
            "autocommit": True,
            "application_name": "quizstream whatsapp-sender",
            "connect_timeout": connect.CONNECT_TIMEOUT_S,
            "keepalives_idle": connect.KEEPALIVE_IDLE_S,
            "keepalives_interval": connect.KEEPALIVE_INTERVAL_S,
            "keepalives_count": connect.KEEPALIVES_MAX,
            "tcp_user_timeout": connect.UNACKNOWLEDGED_MAX_MS,
        },
    )


async def _check(connection: AsyncConnection[tuple[Any, ...]]) -> None:
    """Before each use. A round trip only where the server has sent something since the last one.

    A server that stops or ends a session says so; where it could not, the next statement fails.
    """
    socket = select.poll()
    socket.register(connection.fileno(), select.POLLIN)
    if socket.poll(0):
        await AsyncConnectionPool.check_connection(connection)
