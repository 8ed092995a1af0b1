"""`quizstream bench plot`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ops.exits import CANNOT


def plot(
    result: Annotated[Path, typer.Argument(help="A result of `--json`.", exists=True, dir_okay=False)],
    page: Annotated[Path, typer.Argument(help="The SVG file to write.")],
) -> None:
    """Draw a result of e2e, growth, shapes spike, shapes users or a journey of peers on one page.

    Exit codes: 0 drawn, 2 there is no page for this kind of result.

    Example:

      quizstream bench plot benchmarks/results/growth.json growth.svg
    """
    import sys

    from benchmarks.report import pages

    try:
        page.write_text(pages.page(result.read_bytes()), encoding="utf-8")
    except pages.NoPage as error:
        print(error, file=sys.stderr)
        raise typer.Exit(CANNOT) from None
