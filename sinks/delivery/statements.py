"""The sender's SQL: the named queries of `queries.sql`."""

from __future__ import annotations

from pathlib import Path
from typing import LiteralString

from sinks.postgres.queries import load_queries

QUERIES = load_queries(Path(__file__).with_name("queries.sql"))


def statement(name: str) -> LiteralString:
    """A query by its name: text of this repository, never of a user."""
    return QUERIES[name]
