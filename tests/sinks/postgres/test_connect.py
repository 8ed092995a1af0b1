"""A session's settings do not depend on those of the database, the role or the server."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime

import psycopg
import pytest
from psycopg import sql

from sinks.postgres.connect import connect
from sinks.postgres.pool import open_pool

ODD = {"TimeZone": "America/Sao_Paulo", "DateStyle": "SQL, DMY", "IntervalStyle": "iso_8601", "jit": "on"}


@pytest.fixture
def odd_url(database_url: str) -> str:
    """A migrated database with every setting that changes how a value is read or written."""
    name = database_url.rpartition("/")[2]
    with psycopg.connect(database_url, autocommit=True) as connection:
        for setting, value in ODD.items():
            connection.execute(
                sql.SQL("ALTER DATABASE {} SET {} = {}").format(
                    sql.Identifier(name), sql.Identifier(setting), sql.Literal(value)
                )
            )
    return database_url


def test_the_settings_are_fixed(odd_url: str) -> None:
    with connect(odd_url, "test", statement_timeout_ms=1234) as connection:
        found = {name: connection.execute(f"SHOW {name}").fetchall()[0][0] for name in ODD}
        time_out = connection.execute("SHOW statement_timeout").fetchall()[0][0]

    assert found == {"TimeZone": "UTC", "DateStyle": "ISO, YMD", "IntervalStyle": "postgres", "jit": "off"}
    assert time_out == "1234ms"


def test_times_and_days_are_those_that_were_written(odd_url: str) -> None:
    written = datetime(2026, 2, 3, 1, 30, tzinfo=UTC)
    with connect(odd_url, "test") as connection:
        rows = connection.execute(
            "SELECT %s::timestamptz, %s::date, '2026-02-03'::date, %s::timestamptz::date",
            [written, date(2026, 2, 3), written],
        ).fetchall()

    assert rows == [(written, date(2026, 2, 3), date(2026, 2, 3), date(2026, 2, 3))]


def test_a_permit_of_the_publisher_counts_for_the_sender(odd_url: str) -> None:
    with connect(odd_url, "publisher") as connection:
        connection.execute(
            "INSERT INTO sending_permit (granted_until, incarnation)"
            " VALUES (clock_timestamp() + interval '1 hour', ledger_incarnation())"
        )

    async def permitted() -> object:
        pool = open_pool(odd_url, connections_max=2, statement_timeout_ms=5_000)
        await pool.open()
        try:
            async with pool.connection() as connection:
                return await (await connection.execute("SELECT sending_is_permitted()")).fetchone()
        finally:
            await pool.close()

    assert asyncio.run(permitted()) == (True,)


def test_the_incarnation_does_not_depend_on_a_sessions_settings(odd_url: str) -> None:
    with psycopg.connect(odd_url, autocommit=True) as connection:
        names = set()
        for zone in ("UTC", "America/Sao_Paulo", "Asia/Kolkata"):
            for style in ("ISO, YMD", "SQL, DMY", "German"):
                connection.execute("SELECT set_config('TimeZone', %s, false)", [zone])
                connection.execute("SELECT set_config('DateStyle', %s, false)", [style])
                names.add(connection.execute("SELECT ledger_incarnation()").fetchall()[0][0])

    assert len(names) == 1
