"""`quizstream bench`"""

from __future__ import annotations

from typing import Annotated

import typer

bench = typer.Typer(name="bench", help="Measure what the pipeline costs.", no_args_is_help=True)


@bench.callback()
def about() -> None:
    """Measure what the pipeline costs."""


@bench.command()
def stages(
    json: Annotated[bool, typer.Option("--json", help="Print the measurements as JSON.")] = False,
    bootstrap: Annotated[
        str | None, typer.Option(help="A Kafka to use (host:port); without it one is started.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Measurements of each, of which the median counts.")] = 3,
) -> None:
    """Measure what a record costs in the stream: the transport alone beside Faust's own, and each real stage.

    Takes minutes, and a machine that does nothing else. `batch_vs_stock` says how many times the CPU time
    Faust's own transport takes for one record with an empty stage.

    Exit codes: 0 measured, 1 records were lost on the way: nothing to report, 2 it could not be done.

    Example:

      quizstream bench stages --json
    """
    from benchmarks.stages import run

    raise typer.Exit(run(json, bootstrap, rounds))
