"""SQL lives in `.sql` files: each query has a name, a reason and, below them, its text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

_HEADING = re.compile(r"^-- (\w+) --\s*$", re.MULTILINE)


class BadQueries(Exception):
    """A `.sql` file that is not a list of named queries."""


def load_queries(path: Path) -> Mapping[str, str]:
    """The queries of one file by name, without their reasons.

    A query starts with a line `-- name --`; the comment lines below it say why it is as it is. Each query
    keeps its name as a leading SQL comment, so that `pg_stat_activity` shows which one runs. Raises
    `BadQueries` on text before the first heading, an empty query, or a name that is used twice.
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
            raise BadQueries(f"{path.name}: query {name} is there twice")
        queries[name] = f"/* {name} */ {body}"
    return MappingProxyType(queries)


def _without_comments(text: str) -> str:
    # Reasons may hold a percent sign, which the driver would take for a parameter.
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("--")]
    return "\n".join(lines).strip().removesuffix(";")
