"""`quizstream bench`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ops.commands.bench_capacity import storage, workers
from ops.commands.bench_growth import growth
from ops.commands.bench_print import print_result as _print
from ops.commands.bench_shapes import shapes

bench = typer.Typer(
    name="bench",
    help="Measure: every result is checked before it is printed, and says its machine and commit.",
    no_args_is_help=True,
)

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Rounds = Annotated[int, typer.Option(min=1, help="Turns; the figures are their medians and spreads.")]
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
    warm_up: Annotated[float, typer.Option(min=1, help="Seconds at the same rate that do not count.")] = 60.0,
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
    from benchmarks import e2e as measurement
    from benchmarks import subject

    plan = measurement.Plan(rate, seconds, matching_percent, warm_up)

    def measure(tell: subject.Tell) -> object:
        if running:
            return measurement.measure(subject.running_here(), plan, accepted_out, tell)
        with subject.own(tell, port_base, keep) as found:
            return measurement.measure(found, plan, accepted_out, tell)

    _print(measure, json)


@bench.command()
def edge(
    rate: Annotated[
        list[float] | None, typer.Option(min=1, help="Requests a second; may be given again.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, help="How long each run is measured.")] = 20.0,
    rounds: Rounds = 3,
    port_base: PortBase = 15_000,
    json: Json = False,
) -> None:
    """What a request costs at the edge, with Kafka behind it: constant rates over HTTP, in turns.

    Latency counts from when a request was due. The answered ids must be those in the topic.

    Exit codes: 0 measured, 1 the topic holds other ids: there are no figures, 2 nothing could be measured.

    Examples:

      quizstream bench edge

      quizstream bench edge --rate 1667 --rate 3334 --seconds 60 --json
    """
    from benchmarks import edge as measurement

    rates = rate or [1667.0, 3334.0]
    _print(lambda tell: measurement.measure(rates, seconds, rounds, port_base, tell), json)


@bench.command()
def sink(
    records: Annotated[int, typer.Option(min=1000, help="Completions of a round.")] = 100_000,
    rounds: Rounds = 3,
    port_base: PortBase = 15_000,
    json: Json = False,
) -> None:
    """What a row costs: the sink process reads full topics of completions and verdicts into Postgres.

    Exit codes: 0 measured, 1 rows are missing: there are no figures, 2 nothing could be measured.

    Example:

      quizstream bench sink --json
    """
    from benchmarks import sink as measurement

    _print(lambda tell: measurement.measure(records, rounds, port_base, tell), json)


@bench.command()
def sender(
    numbers: Annotated[int, typer.Option(min=1, help="Sending numbers, each with its own pace.")] = 16,
    seconds: Annotated[float, typer.Option(min=5, help="How long the messages of a round last.")] = 15.0,
    rounds: Rounds = 3,
    port_base: PortBase = 15_000,
    json: Json = False,
) -> None:
    """How fast messages leave: the sender process, a ledger full of due deliveries, the simulated provider.

    By the provider's record every delivery was called once, and no number was faster than its pace in any
    second.

    Exit codes: 0 measured, 1 the record says otherwise: there are no figures, 2 nothing could be measured.

    Example:

      quizstream bench sender --numbers 16 --json
    """
    from benchmarks import sender as measurement

    _print(lambda tell: measurement.measure(numbers, seconds, rounds, port_base, tell), json)


@bench.command()
def peers(
    side: Annotated[
        list[str] | None,
        typer.Option(
            help="Who takes part, given once for each: quizstream, quix, plain, faust, kafka-streams for "
            "the stages; quizstream, bullmq for the whole journey. Without it: all of the stages."
        ),
    ] = None,
    rounds: Rounds = 3,
    records: Annotated[
        int,
        typer.Option(
            min=5000,
            help="Stages: completions of a turn; faust gets a fifth, kafka-streams three times as many.",
        ),
    ] = 100_000,
    rate: Annotated[float, typer.Option(min=1, help="Journey: completions a second offered.")] = 1667.0,
    seconds: Annotated[float, typer.Option(min=1, help="Journey: how long each turn is measured.")] = 60.0,
    warm_up: Annotated[float, typer.Option(min=1, help="Journey: seconds that do not count.")] = 15.0,
    port_base: PortBase = 15_000,
    json: Json = False,
) -> None:
    """This project beside what people would otherwise use, on the same work, in turns of one run.

    Without `bullmq`, the three stages: Quix Streams, stock Faust, Kafka Streams (needs a javac, else it is
    left out) and confluent-kafka with a dict for its state ("plain"), each as its users write it
    (benchmarks/peers), with the windows, the campaigns and the records of `bench stages`. Three ways of each
    side: "empty" reads and does nothing, "qualify" limits and matches, "dedup" lets the first of campaign and
    contact pass.

    With `bullmq`, the whole journey: Express, BullMQ, Valkey and PostgreSQL under the load of `bench e2e`.
    Needs node 20 or newer. Choose a rate that overtaxes a side to see what it drains.

    What every side did is checked by id before a figure is printed: verdicts, deliveries, duplicates; for the
    journey rows, verdicts and calls at the provider. What the peers need is fetched at first use, by hash,
    into the user's cache.

    Exit codes: 0 measured, 1 a side did something else: there are no figures, 2 nothing could be measured.

    Examples:

      quizstream bench peers

      quizstream bench peers --side quizstream --side quix --rounds 5 --json

      quizstream bench peers --side quizstream --side bullmq --rate 3000 --seconds 60
    """
    from benchmarks.peers import journey, stages

    sides = list(dict.fromkeys(side or stages.PEERS))
    whole = journey.BULLMQ in sides
    known = journey.SIDES if whole else stages.PEERS
    unknown = [name for name in sides if name not in known]
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)}: choose of {', '.join(known)}", param_hint="--side")
    if whole:
        from benchmarks.e2e import Plan

        plan = Plan(rate, seconds, warm_up_s=warm_up)
        _print(lambda tell: journey.measure(sides, plan, rounds, port_base, tell), json)
    _print(lambda tell: stages.measure(sides, records, rounds, port_base, tell), json)


for _measurement in (growth, workers, storage):
    bench.command()(_measurement)
bench.add_typer(shapes)


def register(app: typer.Typer) -> None:
    """Adds `quizstream bench`."""
    app.add_typer(bench)
