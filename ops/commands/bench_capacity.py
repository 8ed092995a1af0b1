"""`quizstream bench workers` and `quizstream bench storage`: what `quizstream capacity` rests on."""

from __future__ import annotations

from typing import Annotated

import typer

from ops.commands.bench_print import print_result

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
PortBase = Annotated[
    int, typer.Option(help="First port of the servers that are started for the measurement.")
]


def workers(
    worker: Annotated[
        list[int] | None, typer.Option(min=1, max=8, help="So many worker processes; may be given again.")
    ] = None,
    records: Annotated[int, typer.Option(min=5000, help="Completions of a turn.")] = 120_000,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each number.")] = 3,
    port_base: PortBase = 15_000,
    json: Json = False,
) -> None:
    """Does a completion cost more CPU when more workers share the partitions? Compares 1, 2 and 4.

    `quizstream capacity` multiplies the CPU of one worker; this checks that it may. Each turn has topics of
    its own, and every completion must come out once, by id. On two cores four workers are not faster, so what
    is judged is CPU a completion: at most 1.2 times that of the fewest workers.

    Exit codes: 0 the claim holds, 1 it does not, or records are missing, 2 nothing could be measured.

    Examples:

      quizstream bench workers --json

      quizstream bench workers --worker 1 --worker 4 --records 80000 --rounds 1
    """
    from benchmarks import workers as measurement

    counts = sorted(set(worker or [1, 2, 4]))
    print_result(lambda tell: measurement.measure(counts, records, rounds, port_base, tell), json)


def storage(
    requests: Annotated[
        int, typer.Option(min=1000, help="Completions; many, so that pages are full.")
    ] = 50_000,
    rate: Annotated[float, typer.Option(min=1, help="Completions a second.")] = 1000.0,
    matching_percent: Annotated[
        int, typer.Option(min=1, max=100, help="How many of a hundred completions match the campaign.")
    ] = 10,
    port_base: PortBase = 15_000,
    json: Json = False,
) -> None:
    """What a completion and a message leave on disk: tables with their indexes, topics as brokers keep them.

    Sizes do not depend on what else the machine does. The books are closed before they are read.

    Exit codes: 0 measured, 1 something was lost or done twice: there are no figures, 2 nothing could be
    measured.

    Example:

      quizstream bench storage --json > benchmarks/results/storage.json
    """
    from benchmarks import storage as measurement
    from benchmarks import subject

    def measure(tell: subject.Tell) -> object:
        with subject.own(tell, port_base) as found:
            return measurement.measure(found, requests, rate, matching_percent, tell)

    print_result(measure, json)
