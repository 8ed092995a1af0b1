"""Options and output of commands that list: a page at a time, as a table or as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from sinks.postgres.page import Page

ROWS_MAX = 1_000

After = Annotated[str | None, typer.Option(help="The cursor that the page before ended with.")]
Limit = Annotated[int, typer.Option(min=1, max=ROWS_MAX, help="Rows of one page.")]
Json = Annotated[
    bool, typer.Option("--json", help="Print JSON: items, and next, the following page's cursor.")
]


def print_page(page: Page[dict[str, Any]], columns: Sequence[str], *, as_json: bool) -> None:
    """`columns` are the fields that the table shows; JSON holds all of them."""
    if as_json:
        import msgspec

        print(msgspec.json.encode(page).decode())
        return
    rows = [[text_of(item[name]) for name in columns] for item in page.items]
    widths = [max(len(line[place]) for line in [list(columns), *rows]) for place in range(len(columns))]
    for line in [list(columns), *rows]:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
    if page.next is not None:
        print(f"More follows: --after {page.next}")


def text_of(value: Any) -> str:
    from datetime import datetime

    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%SZ}"
    return " ".join(str(value).split())
