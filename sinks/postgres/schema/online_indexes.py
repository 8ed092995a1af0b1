"""Builds the partitions' parts of indexes that a migration has created on a partitioned table alone.

PostgreSQL builds an index of a partitioned table only with all its writers waiting. A migration contains
`CREATE INDEX ... ON ONLY`, which takes a moment; here each partition's part is built concurrently with
writers, and attached. The index becomes valid with its last part. An interrupted call is continued by the
next one.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from psycopg import sql

from sinks.postgres.connect import Connection
from sinks.postgres.named_rows import fetch
from sinks.postgres.queries import load_queries

LOG = logging.getLogger(__name__)
QUERIES = load_queries(Path(__file__).with_name("online_indexes.sql"))
LOCK_ID = 7_165_011  # of the advisory lock of the one process that builds
LOCK_POLL_S = 0.2
NAME_CHARS_MAX = 63
_DEFINITION = re.compile(r"CREATE (?P<unique>UNIQUE )?INDEX \S+ ON ONLY \S+ (?P<rest>USING .*)", re.DOTALL)


class _Part(NamedTuple):
    index_name: str
    parent: str
    partition: str
    definition: str


class _Present(NamedTuple):
    invalid: bool
    present: bool


def build(connection: Connection, sleep: Callable[[float], None] = time.sleep) -> int:
    """Build and attach every missing part; returns how many. Waits while another process does it.

    `connection` is in autocommit, without a statement time-out, and holds no lock that others wait for.
    """
    waiting = False
    while connection.execute(QUERIES["try_lock"], [LOCK_ID]).fetchone() != (True,):
        if not waiting:
            LOG.info("waiting until another process has built the indexes")
            waiting = True
        sleep(LOCK_POLL_S)
    try:
        parts = fetch(connection, QUERIES["unfinished"], _Part)
        for part in parts:
            _build(connection, part)
        return len(parts)
    finally:
        connection.execute(QUERIES["unlock"], [LOCK_ID])


def _build(connection: Connection, part: _Part) -> None:
    suffix = part.index_name.removeprefix(f"{part.parent}_")
    name = f"{part.partition}_{suffix}"[:NAME_CHARS_MAX]
    (before,) = fetch(connection, QUERIES["broken_off"], _Present, {"name": name})
    identifier = sql.Identifier(name)
    if before.invalid:
        connection.execute(sql.SQL("DROP INDEX CONCURRENTLY {}").format(identifier))
    if before.invalid or not before.present:
        found = _DEFINITION.fullmatch(part.definition)
        assert found is not None, part.definition
        LOG.info("building index %s of %s, while it is in use", name, part.partition)
        rest = sql.SQL(found["rest"])  # from the catalogue, not from outside
        kind = sql.SQL("UNIQUE INDEX" if found["unique"] else "INDEX")
        connection.execute(
            sql.SQL("CREATE {} CONCURRENTLY {} ON {} {}").format(
                kind, identifier, sql.Identifier(part.partition), rest
            )
        )
    connection.execute(
        sql.SQL("ALTER INDEX {} ATTACH PARTITION {}").format(sql.Identifier(part.index_name), identifier)
    )
