"""`quizstream down`"""

from __future__ import annotations

import typer


def down() -> None:
    """Stop what `up` or `run` started in this QUIZSTREAM_HOME: the processes first, then the servers.

    Exit codes: 0 all stopped, 2 not stopped in time.

    Example:

      quizstream down
    """
    from ops.deployment.daemon import stop

    raise typer.Exit(stop())
