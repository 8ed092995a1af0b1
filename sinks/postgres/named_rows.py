"""Rows by name: a statement's columns become the fields of a NamedTuple, checked once for each result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from psycopg import Cursor

from sinks.postgres.connect import Connection

Row = TypeVar("Row")


class OtherColumns(Exception):
    """The statement returns other columns than its row has fields: the code and its SQL differ."""


class _Cursor(Protocol):
    @property
    def description(self) -> Sequence[Any] | None: ...


def named(row_type: type[Row]) -> Callable[[Any], Callable[[Sequence[Any]], Row]]:
    """A row factory for psycopg. `row_type` is a NamedTuple; raises `OtherColumns` at the first result."""
    fields: tuple[str, ...] = row_type._fields  # type: ignore[attr-defined]
    make: Callable[[Sequence[Any]], Row] = row_type._make  # type: ignore[attr-defined]

    def factory(cursor: _Cursor) -> Callable[[Sequence[Any]], Row]:
        columns = tuple(column.name for column in cursor.description or ())
        if columns and columns != fields:
            raise OtherColumns(f"{row_type.__name__} has {fields}, the statement returns {columns}")
        return make

    return factory


def fetch(
    connection: Connection,
    query: str,
    row_type: type[Row],
    parameters: Sequence[object] | Mapping[str, object] | None = None,
    *,
    prepare: bool | None = None,
) -> list[Row]:
    """Every row of the query. `query` is text of this repository."""
    cursor: Cursor[Row]
    with connection.cursor(row_factory=named(row_type)) as cursor:
        return cursor.execute(query, parameters, prepare=prepare).fetchall()
