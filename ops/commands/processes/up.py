"""`quizstream up`"""

from __future__ import annotations

from typing import Annotated

import typer

from ops.commands.processes.options import Brokers, Edges


def up(
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay in the foreground; Ctrl-C stops everything.")
    ] = False,
    brokers: Brokers = None,
    edges: Edges = 1,
    demo: Annotated[
        bool, typer.Option("--demo", help="Create the demo's tenants, quizzes, campaigns, numbers and token.")
    ] = False,
) -> None:
    """Start the servers and every process, and return once they are ready.

    Topics and tables are created, and with --demo the demo data, which sends to the simulator. Without it the
    deployment is empty: docs/operations.md, "A deployment of your own", fills it by commands.

    With three brokers, or several edges, one of them may fail without effect. `quizstream down` stops
    everything.

    Exit codes: 0 all ready, 2 a server or process did not start (the last line is the reason).

    Examples:

      quizstream up --demo && quizstream replay answers.csv --quiz feedback-2026

      quizstream up --foreground

      QUIZSTREAM_HOME=/tmp/cluster quizstream up --brokers 3

      quizstream up --edges 4
    """
    from ops.deployment import daemon
    from ops.deployment import up as foreground_up

    start = foreground_up.stay if foreground else daemon.start
    raise typer.Exit(start(brokers, demo=demo, edges=edges))
