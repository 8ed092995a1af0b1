"""A page of a list by key: no row is skipped or repeated, even if rows change meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

T = TypeVar("T")


class Page(msgspec.Struct, Generic[T], frozen=True):
    """`next` is the cursor of the following page, None on the last one."""

    items: list[T]
    next: str | None


def page_of(found: Sequence[T], limit: int, cursor_of: Callable[[T], str]) -> Page[T]:
    """`found` was read with a limit of one more than `limit`: that one tells whether a page follows."""
    items = list(found[:limit])
    return Page(items, cursor_of(items[-1]) if len(found) > limit and items else None)


def as_mappings(page: Page[Any]) -> Page[dict[str, Any]]:
    """The same page with each NamedTuple as a mapping of its fields, for JSON and tables."""
    return Page([item._asdict() for item in page.items], page.next)
