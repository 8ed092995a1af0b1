"""Loads named queries from `.sql` files: each has a name, a comment with its reason, and its text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

_HEADING = re.compile(r"^-- (\w+) --\s*$", re.MULTILINE)


class BadQueries(Exception):
    """A `.sql` file is not a list of named queries."""


def load_queries(path: Path) -> Mapping[str, str]:
    """Return the queries of one file by name, without their comments.

    - A query starts with a line `-- name --`; the comment lines below it have its reason.
    - Each query keeps its name as a leading SQL comment, which `pg_stat_activity` then shows.
    - Raises `BadQueries` for text before the first heading, an empty query, or a repeated name.
    """
    before, *parts = _HEADING.split(path.read_text(encoding="utf-8"))
    if _without_comments(before):
        raise BadQueries(f"{path.name}: text before the first `-- name --` heading")
    queries: dict[str, str] = {}
    for name, text in zip(parts[::2], parts[1::2], strict=True):
        body = _without_comments(text)
        if not body:
            raise BadQueries(f"{path.name}: query {name} is empty")
        if name in queries:
            raise BadQueries(f"{path.name}: query {name} is defined twice")
        queries[name] = f"/* {name} */ {body}"
    return MappingProxyType(queries)


def _without_comments(text: str) -> str:
    # Comments may contain a percent sign, which the driver would parse as a parameter.
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("--")]
    return "\n".join(lines).strip().removesuffix(";")
