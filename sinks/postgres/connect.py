"""How every process opens a connection to Postgres.

Time-outs notice a silent server. Every setting that changes how the server reads or writes a value is fixed:
a database, a role or a server file may set another one, and a date then means another day.
"""

from __future__ import annotations

import psycopg
from psycopg.conninfo import conninfo_to_dict

from pipeline.errors import OperatorError

CONNECT_TIMEOUT_S = 5
KEEPALIVE_IDLE_S = 5
KEEPALIVE_INTERVAL_S = 2
KEEPALIVES_MAX = 3
UNACKNOWLEDGED_MAX_MS = (
    15_000  # bytes that the server's host does not acknowledge for this long end the connection
)

# A process that was stopped with a transaction open hides every later event from the outbox, and without its
# event no delivery is called: the server ends the session. Longer than a sink waits for its dead letters.
IDLE_IN_TRANSACTION_MAX_S = 15

# Name of the setting -> value, for each session.
SESSION_SETTINGS = {
    # Compiling a plan costs more than running these short statements, however many partitions they plan over.
    "jit": "off",
    # A plan that was made while a table was nearly empty reads all of it, and a prepared statement would keep
    # it until the table is analyzed. Statements here are for batches: planning each costs less.
    "plan_cache_mode": "force_custom_plan",
    "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_MAX_S}s",
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "client_encoding": "UTF8",
}

SET_SESSION = "SELECT set_config(name, value, false) FROM unnest(%s::text[], %s::text[]) AS s (name, value)"

Connection = psycopg.Connection[tuple[object, ...]]


class BadDatabaseUrl(OperatorError):
    """DATABASE_URL cannot be parsed. The message does not quote it, since it may hold a password."""


def require_url(database_url: str) -> None:
    """Raises BadDatabaseUrl where libpq cannot parse `database_url`."""
    try:
        conninfo_to_dict(database_url)
    except psycopg.ProgrammingError:
        raise BadDatabaseUrl(
            "DATABASE_URL is not a PostgreSQL URL: use postgresql://user:password@host:port/database."
        ) from None


def connect(database_url: str, name: str, *, statement_timeout_ms: int = 30_000) -> Connection:
    """A connection in autocommit, so that every transaction is a visible `with connection.transaction()`.

    `name` shows in `pg_stat_activity`. Session state is used (temporary tables, advisory locks): behind a
    pooler this needs session pooling. Raises `psycopg.OperationalError` when the server cannot be reached,
    `BadDatabaseUrl` for a URL that is none.
    """
    require_url(database_url)
    connection = psycopg.connect(
        database_url,
        autocommit=True,
        application_name=f"quizstream {name}",
        connect_timeout=CONNECT_TIMEOUT_S,
        keepalives_idle=KEEPALIVE_IDLE_S,
        keepalives_interval=KEEPALIVE_INTERVAL_S,
        keepalives_count=KEEPALIVES_MAX,
        tcp_user_timeout=UNACKNOWLEDGED_MAX_MS,
    )
    connection.execute(SET_SESSION, session_parameters(statement_timeout_ms))
    return connection


def session_parameters(statement_timeout_ms: int) -> list[list[str]]:
    """The parameters of `SET_SESSION`."""
    settings = {**SESSION_SETTINGS, "statement_timeout": f"{statement_timeout_ms}ms"}
    return [list(settings), list(settings.values())]
