"""Brings a database to the schema of this code: forward only, each file once, one process at a time."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pipeline.errors import OperatorError, exit_with_one_line
from pipeline.runtime.settings import Settings
from sinks.postgres.connect import Connection, connect
from sinks.postgres.isolation import apply as isolation
from sinks.postgres.schema import back_fill, online_indexes

MIGRATIONS = Path(__file__).with_name("migrations")
LOCK_ID = 7_165_001  # of the advisory lock; any number that nothing else of the project uses
LOCK_TIMEOUT_MS = 5_000  # a migration that waits for a lock stops everything behind it: better run it again
MAINTENANCE_DATABASE = "postgres"  # where CREATE DATABASE is run from
_FILE_NAME = re.compile(r"(\d{4})_(\w+)\.sql")


class CannotMigrate(OperatorError):
    """What the message, one line with the reason, names was not done; what was applied before it stays."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One SQL file. `checksum`: SHA-256, hex."""

    version: int
    name: str
    checksum: str
    text: str


def migrations(directory: Path = MIGRATIONS) -> list[Migration]:
    """Return all migrations in order. Raises `CannotMigrate` for a misnamed file or a gap in the numbers."""
    found = []
    for path in sorted(directory.glob("*.sql")):
        match = _FILE_NAME.fullmatch(path.name)
        if match is None:
            raise CannotMigrate(f"{path.name}: a migration is named like 0001_initial.sql")
        text = path.read_text(encoding="utf-8")
        found.append(Migration(int(match[1]), match[2], hashlib.sha256(text.encode()).hexdigest(), text))
    for expected, migration in enumerate(found, start=1):
        if migration.version != expected:
            raise CannotMigrate(f"migration {expected:04d} is missing or defined twice")
    return found


def applied(database_url: str) -> list[Migration]:
    """Return the applied migrations in order (without the text); none for a database never migrated."""
    with connect(database_url, "migrate") as connection:
        return _applied(connection)


def migrate(database_url: str, directory: Path = MIGRATIONS) -> list[Migration]:
    """Apply the missing migrations and return them.

    - Creates the database if it does not exist.
    - May be called by many processes at once; each migration is one transaction. Indexes that it created on
      a partitioned table alone are then built partition by partition, and values of new columns are filled
      in batches, while the tables are in use. Tables and partitions without their rule of
      `sinks.postgres.isolation` get it.
    - Raises `CannotMigrate` if an applied file has changed, if the database is newer than this code, or if a
      statement fails.
    """
    wanted = migrations(directory)
    _create_database_if_absent(database_url)
    with connect(database_url, "migrate", statement_timeout_ms=0) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [LOCK_ID])
        missing = pending(wanted, _applied(connection))
        for migration in missing:
            _apply(connection, migration)
        _isolate(connection)
        # Without the lock: who waits for it holds a snapshot, which the builds would wait for.
        connection.execute("SELECT pg_advisory_unlock(%s)", [LOCK_ID])
        try:
            online_indexes.build(connection)
            back_fill.fill(connection)
        except psycopg.Error as error:
            raise CannotMigrate(
                f"building indexes and filling columns while their tables are in use: {_line(error)}: "
                "run migrate again, which continues from here"
            ) from error
        return missing


def pending(wanted: Sequence[Migration], present: Sequence[Migration]) -> list[Migration]:
    """Return the missing migrations. Raises `CannotMigrate` if the database has others than the files."""
    if len(present) > len(wanted):
        newest = present[-1]
        raise CannotMigrate(
            f"the database has migration {newest.version:04d}_{newest.name}, which this code does not have: "
            "run newer code"
        )
    for ours, theirs in zip(wanted, present, strict=False):
        if ours.checksum != theirs.checksum:
            raise CannotMigrate(
                f"migration {ours.version:04d}_{ours.name} was changed after it was applied: "
                "restore the file and put the change into a new one"
            )
    return list(wanted[len(present) :])


def require_current(connection: Connection) -> None:
    """Raise `CannotMigrate` unless the database is exactly at this code's schema."""
    missing = pending(migrations(), _applied(connection))
    if missing:
        raise CannotMigrate(
            f"the database lacks migration {missing[0].version:04d}_{missing[0].name}: "
            "run `python -m sinks.postgres.schema.migrate`"
        )


def connect_current(database_url: str, name: str, *, statement_timeout_ms: int = 30_000) -> Connection:
    """A connection to a database that is exactly at this code's schema. Raises as `require_current`."""
    connection = connect(database_url, name, statement_timeout_ms=statement_timeout_ms)
    try:
        require_current(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _applied(connection: Connection) -> list[Migration]:
    if connection.execute("SELECT to_regclass('schema_migrations')").fetchone() == (None,):
        return []
    rows = connection.execute("SELECT version, name, checksum FROM schema_migrations ORDER BY version")
    return [Migration(int(str(version)), str(name), str(checksum), "") for version, name, checksum in rows]


def _apply(connection: Connection, migration: Migration) -> None:
    try:
        with connection.transaction():
            connection.execute(
                "CREATE TABLE IF NOT EXISTS schema_migrations ("
                " version integer PRIMARY KEY, name text NOT NULL, checksum text NOT NULL,"
                " applied_at timestamptz NOT NULL DEFAULT now())"
            )
            # Also for migrations that do not set it: a landed file cannot be changed.
            connection.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS:d}")
            connection.execute(migration.text)
            connection.execute(
                "INSERT INTO schema_migrations (version, name, checksum) VALUES (%s, %s, %s)",
                [migration.version, migration.name, migration.checksum],
            )
    except psycopg.Error as error:
        raise CannotMigrate(f"migration {migration.version:04d}_{migration.name}: {_line(error)}") from error


def _isolate(connection: Connection) -> None:
    if connection.execute("SELECT to_regprocedure('current_tenant()')").fetchone() == (None,):
        return  # a schema of before
    try:
        isolation.apply(connection)
    except psycopg.Error as error:
        raise CannotMigrate(
            f"isolating tenants, table by table: {_line(error)}: run migrate again, which continues from here"
        ) from error


def _create_database_if_absent(database_url: str) -> None:
    try:
        connect(database_url, "migrate").close()
    except psycopg.OperationalError as error:
        name = str(conninfo_to_dict(database_url).get("dbname") or "")
        if not name or f'database "{name}" does not exist' not in str(error):
            raise CannotMigrate(f"cannot reach the database: {_line(error)}") from error
        _create_database(database_url, name)


def _create_database(database_url: str, name: str) -> None:
    try:
        with connect(make_conninfo(database_url, dbname=MAINTENANCE_DATABASE), "migrate") as maintenance:
            maintenance.execute(
                sql.SQL("CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0").format(sql.Identifier(name))
            )
    except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
        return  # another process was faster
    except psycopg.Error as error:
        raise CannotMigrate(
            f'database "{name}" does not exist and cannot be created: {_line(error)}'
        ) from error


def _line(error: psycopg.Error) -> str:
    """Return the first line of the server's message, which never contains the password."""
    return (error.diag.message_primary or str(error)).strip().splitlines()[0]


def main() -> int:
    done = migrate(Settings.from_env().database_url)
    for migration in done:
        print(f"applied {migration.version:04d}_{migration.name}")
    print(f"the schema is at {migrations()[-1].version:04d}")
    return 0


if __name__ == "__main__":
    exit_with_one_line("migrate", main)
