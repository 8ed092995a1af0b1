"""How every process opens a connection to Postgres: with time-outs that notice a server gone silent."""

from __future__ import annotations

import psycopg

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

# A plan that was made while a table was nearly empty reads all of it, and a prepared statement would keep it
# until the table is analyzed. Statements here are for batches: planning each costs less than such a mistake.
CUSTOM_PLANS = "SET plan_cache_mode = force_custom_plan"

NO_SLEEP_IN_TRANSACTIONS = f"SET idle_in_transaction_session_timeout = '{IDLE_IN_TRANSACTION_MAX_S}s'"

Connection = psycopg.Connection[tuple[object, ...]]


def connect(database_url: str, name: str, *, statement_timeout_ms: int = 30_000) -> Connection:
    """A connection in autocommit, so that every transaction is a visible `with connection.transaction()`.

    `name` shows in `pg_stat_activity`. Session state is used (temporary tables, advisory locks): behind a
    pooler this needs session pooling. Raises `psycopg.OperationalError` when the server cannot be reached.
    """
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
    # Compiling a plan costs more than running these short statements, however many partitions they plan over.
    connection.execute("SET jit = off")
    connection.execute(CUSTOM_PLANS)
    connection.execute("SELECT set_config('statement_timeout', %s, false)", [f"{statement_timeout_ms}ms"])
    connection.execute(NO_SLEEP_IN_TRANSACTIONS)
    connection.execute("SET TIME ZONE 'UTC'")
    return connection
