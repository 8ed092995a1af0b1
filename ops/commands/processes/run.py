"""`quizstream run`"""

from __future__ import annotations

from typing import Annotated

import typer

from ops.commands.processes.options import Brokers, Edges


def run(
    once: Annotated[
        bool,
        typer.Option("--once", help="Stop after the reconciliation; exit code 0 only if the ledger holds."),
    ] = False,
    brokers: Brokers = None,
    edges: Edges = 1,
) -> None:
    """Start everything, replay two real quizzes through HTTP, reconcile, and serve until Ctrl-C.

    Kafka, PostgreSQL and Valkey run on this machine, except those given by KAFKA_BOOTSTRAP_SERVERS,
    DATABASE_URL or REDIS_URL. State is stored in QUIZSTREAM_HOME (default .quizstream), ports begin at
    QUIZSTREAM_PORT_BASE (default 8600): two homes with two bases run side by side.

    Exit codes: 0 the ledger holds, 1 it does not, 2 a server or process did not start, 130 interrupted.

    Examples:

      quizstream run

      quizstream run --once

      QUIZSTREAM_HOME=/tmp/cluster quizstream run --brokers 3

      quizstream run --edges 4

      QUIZSTREAM_HOME=/tmp/other QUIZSTREAM_PORT_BASE=9600 quizstream run
    """
    from ops.demo.run import run as run_all

    raise typer.Exit(run_all(once=once, brokers=brokers, edges=edges))
