"""`quizstream process`"""

from __future__ import annotations

from typing import Annotated

import typer

from ops.exits import CANNOT


def process(
    name: Annotated[
        str,
        typer.Argument(
            help="edge, tenants, worker, postgres-sink, whatsapp-sender, webhook-sender, simulator."
        ),
    ],
) -> None:
    """Run one process in the foreground, as the supervisor does; SIGTERM stops it within 10 s.

    Its servers are given by KAFKA_BOOTSTRAP_SERVERS, DATABASE_URL and REDIS_URL (default: the embedded ones).

    Examples:

      quizstream process worker

      KAFKA_BOOTSTRAP_SERVERS=kafka:9092 quizstream process edge
    """
    from ops.locate import find
    from ops.processes import table

    if name not in table.NAMES:
        typer.echo(f"There is no process {name!r}: choose one of {', '.join(table.NAMES)}.", err=True)
        raise typer.Exit(CANNOT)
    raise typer.Exit(table.run(name, find().settings))
