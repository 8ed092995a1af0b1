"""`quizstream up`"""

from __future__ import annotations

from typing import Annotated

import typer


def up(
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay, and stop all at Ctrl-C.")] = False,
) -> None:
    """Start the servers and every process, and return once they serve.

    Topics, tables and the demonstration's seeds are put in place. `quizstream down` stops everything.

    Exit codes: 0 all serve, 2 something could not start (its reason is the last line).

    Examples:

      quizstream up && quizstream replay answers.csv --quiz feedback-2026

      quizstream up --foreground
    """
    from ops import daemon
    from ops import up as foreground_up

    raise typer.Exit(foreground_up.stay() if foreground else daemon.start())
