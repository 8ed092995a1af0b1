"""`quizstream bench`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ops.commands.exits import CANNOT, NO, OK

bench = typer.Typer(
    name="bench",
    help="Measure: every result is checked before it is printed, and says its machine and commit.",
    no_args_is_help=True,
)

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
PortBase = Annotated[
    int, typer.Option(help="First port of the deployment that is started for the measurement.")
]


@bench.command()
def stages(
    json: Json = False,
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


@bench.command()
def e2e(
    rate: Annotated[float, typer.Option(min=1, help="Completions a second, whatever happens.")] = 1667.0,
    seconds: Annotated[float, typer.Option(min=1, help="How long is measured, after the warm-up.")] = 600.0,
    warm_up: Annotated[float, typer.Option(min=1, help="Seconds at the same rate that do not count.")] = 15.0,
    matching_percent: Annotated[
        int, typer.Option(min=0, max=100, help="How many of a hundred completions match the campaign.")
    ] = 10,
    accepted_out: Annotated[
        Path | None, typer.Option(help="Write the id of every 202 to this file, one a line.")
    ] = None,
    running: Annotated[
        bool, typer.Option("--running", help="Use what runs in QUIZSTREAM_HOME; else one is started.")
    ] = False,
    port_base: PortBase = 15_000,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the folder of what was started.")] = False,
    json: Json = False,
) -> None:
    """A constant load over HTTP: from the due request to the row, the verdict and the provider's call.

    Open loop: a request that waits for its turn counts from when it was due. CPU seconds of every process are
    those of the measured time, the load generator's too. The books are closed before a figure is printed.

    Exit codes: 0 measured, 1 something was lost, done twice or refused: there are no figures, 2 nothing could
    be measured.

    Examples:

      quizstream bench e2e --rate 1667 --seconds 600

      quizstream bench e2e --rate 500 --seconds 30 --json

      quizstream bench e2e --running --accepted-out accepted.txt
    """
    import sys

    import msgspec

    from benchmarks import e2e as measurement
    from benchmarks import show, subject
    from benchmarks.load import LoadBroken
    from ops.embedded.cannot_start import CannotStart
    from ops.up import end_on_sigterm

    def tell(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    end_on_sigterm()
    plan = measurement.Plan(rate, seconds, matching_percent, warm_up)
    try:
        if running:
            measured = measurement.measure(subject.running_here(), plan, accepted_out, tell)
        else:
            with subject.own(tell, port_base, keep) as found:
                measured = measurement.measure(found, plan, accepted_out, tell)
    except (CannotStart, LoadBroken) as error:
        tell(str(error))
        raise typer.Exit(CANNOT) from None
    print(msgspec.json.format(msgspec.json.encode(measured)).decode() if json else show.text(measured))
    raise typer.Exit(NO if isinstance(measured, measurement.Fell) else OK)
