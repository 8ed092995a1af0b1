"""`quizstream up`"""

from __future__ import annotations

from typing import Annotated

import typer


def up(
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay, and stop all at Ctrl-C.")] = False,
    brokers: Annotated[
        int | None,
        typer.Option(help="Kafka brokers of a new home: 1 or 3. Later: as it was made."),
    ] = None,
) -> None:
    """Start the servers and every process, and return once they serve.

    With three brokers each record is on three disks, and any one broker may go away without anybody noticing.
    Topics, tables and the demonstration's seeds are put in place. `quizstream down` stops everything.

    Exit codes: 0 all serve, 2 something could not start (its reason is the last line).

    Examples:

      quizstream up && quizstream replay answers.csv --quiz feedback-2026

      quizstream up --foreground

      QUIZSTREAM_HOME=/tmp/cluster quizstream up --brokers 3
    """
    from ops.deployment import daemon
    from ops.deployment import up as foreground_up

    raise typer.Exit(foreground_up.stay(brokers) if foreground else daemon.start(brokers))
