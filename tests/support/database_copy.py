"""A copy of the database, and its return in the place of what has gone on since: what a restore drill does.

`pg_dump` and `pg_restore` are those of the embedded server where it is installed, else of the PATH.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from sinks.postgres.schema.dump import postgres_program

MAINTENANCE_DATABASE = "postgres"


class CannotCopy(Exception):
    """The message is one line: what the program said."""


def take(database_url: str, path: Path) -> None:
    """Writes a copy as of one moment to `path`, while everything goes on. Raises CannotCopy."""
    _run("pg_dump", database_url, ["--format=custom", "--compress=0", f"--file={path}"])


def put_back(database_url: str, path: Path) -> None:
    """The database becomes what the copy is; every session ends. Processes may be running: they reconnect.

    The copy is restored beside it first and takes its name at once, so nobody meets half of it. Raises
    CannotCopy and psycopg.Error.
    """
    name = str(conninfo_to_dict(database_url)["dbname"])
    restored = f"{name}_{uuid4().hex[:8]}"
    maintenance_url = make_conninfo(database_url, dbname=MAINTENANCE_DATABASE)
    with psycopg.connect(maintenance_url, autocommit=True) as maintenance:
        maintenance.execute(
            sql.SQL("CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0").format(sql.Identifier(restored))
        )
        restored_url = make_conninfo(database_url, dbname=restored)
        _run("pg_restore", restored_url, ["--no-owner", "--exit-on-error", f"--dbname={restored}", str(path)])
        # In one go: who reconnects in between is told to come again.
        maintenance.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        maintenance.execute(
            sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(restored), sql.Identifier(name))
        )


def _run(program: str, database_url: str, arguments: Sequence[str]) -> None:
    known = conninfo_to_dict(database_url)
    names = {"dbname": "PGDATABASE"}
    # By the environment: arguments are seen by every user of the machine.
    env = {
        names.get(name, f"PG{name.upper()}"): str(value) for name, value in known.items() if value is not None
    }
    done = subprocess.run(
        [postgres_program(program), *arguments],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise CannotCopy(said[-1] if said else f"{program} failed")
