"""Gives rows of before a migration the values of its new columns: in batches, while the tables are in use.

A migration that did it would lock the table for as long, and write it in one transaction. The column's
comment in the database states that it is done; an interrupted call is done again by the next one.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import NamedTuple

from psycopg import sql

from sinks.postgres.connect import Connection
from sinks.postgres.named_rows import fetch
from sinks.postgres.queries import load_queries

LOG = logging.getLogger(__name__)
QUERIES = load_queries(Path(__file__).with_name("back_fill.sql"))
BATCH_MAX = 1_000
DONE = "of all entries"  # the column's comment


class _Done(NamedTuple):
    done: bool


def fill(connection: Connection) -> int:
    """Give entries of the audit log their tenant; return how many got one. `connection` is in autocommit."""
    found = fetch(connection, QUERIES["is_done"], _Done, {"done": DONE})
    if not found or found[0].done:  # a schema of before has no such column
        return 0
    filled, after, last = 0, _one(connection, "first_entry"), _one(connection, "last_entry")
    while after < last:
        given = {"after": after, "until": after + BATCH_MAX}
        filled += connection.execute(QUERIES["fill_audit_log"], given).rowcount
        after += BATCH_MAX
    connection.execute(sql.SQL("COMMENT ON COLUMN audit_log.tenant_id IS {}").format(sql.Literal(DONE)))
    if filled:
        LOG.info("%d entries of the audit log have their tenant now", filled)
    return filled


def _one(connection: Connection, name: str) -> int:
    row = connection.execute(QUERIES[name]).fetchone()
    assert row is not None
    return int(str(row[0]))
