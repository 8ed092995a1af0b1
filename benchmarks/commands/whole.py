"""Verbs that measure a whole deployment: `quizstream bench e2e|compare|storage`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmarks.commands.options import Json, Matching, PortBase, Rounds, WarmUp, report, report_whole

if TYPE_CHECKING:
    from benchmarks.measure.deployment import Tell
    from benchmarks.measure.machine import Measured


def e2e(
    rate: Annotated[float, typer.Option(min=1, help="Completions a second, constant.")] = 1667.0,
    seconds: Annotated[float, typer.Option(min=1, help="Measured time, after the warm-up.")] = 600.0,
    warm_up: WarmUp = 60.0,
    matching_percent: Matching = 10,
    accepted_out: Annotated[
        Path | None, typer.Option(help="Write the id of every 202 to this file, one a line.")
    ] = None,
    running: Annotated[
        bool, typer.Option("--running", help="Use the deployment of QUIZSTREAM_HOME; start none.")
    ] = False,
    port_base: PortBase = 15_000,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the folder of the started deployment.")] = False,
    json: Json = False,
) -> None:
    """Constant load over HTTP: from the due request to the row, the verdict and the provider's call.

    Open loop: the latency of a request that waits counts from when it was due. CPU seconds of every process,
    the load generator's too, are of the measured time. All ids are reconciled before a figure is printed.

    Exit codes: 0 measured, 1 a completion was lost, repeated or refused: no figures, 2 not measured.

    Examples:

      quizstream bench e2e --rate 1667 --seconds 600

      quizstream bench e2e --rate 500 --seconds 30 --json

      quizstream bench e2e --running --accepted-out accepted.txt
    """

    def measure(tell: Tell) -> Measured:
        from benchmarks.load.plan import Plan
        from benchmarks.measure import deployment
        from benchmarks.scenarios import e2e as scenario

        plan = Plan(rate, seconds, matching_percent, warm_up)
        if running:
            return scenario.measure(deployment.running_here(), plan, accepted_out, tell)
        with deployment.whole(tell, port_base, keep) as found:
            return scenario.measure(found, plan, accepted_out, tell)

    report(measure, json)


def compare(
    other: Annotated[
        Path, typer.Option(help="Another checkout, with its own .venv (`make setup-test`).", file_okay=False)
    ],
    rate: Annotated[float, typer.Option(min=1, help="Completions a second, constant.")] = 1667.0,
    seconds: Annotated[float, typer.Option(min=1, help="Measured time of a side in a round.")] = 60.0,
    warm_up: WarmUp = 60.0,
    rounds: Rounds = 3,
    port_base: PortBase = 15_000,
    json: Json = False,
) -> None:
    """CPU per completion of this checkout (A) beside another one (B), interleaved in one run.

    Each side runs `quizstream bench e2e` of its own checkout and .venv, in a home of its own; A begins the
    odd rounds, B the even ones. Prints each round's ratio A / B and their spread.

    Exit codes: 0 measured, 1 a side lost or repeated a completion: no figures, 2 not measured.

    Example:

      quizstream bench compare --other ../main --rate 1667 --seconds 60 --rounds 3
    """
    from benchmarks.scenarios import compare as scenario

    report(lambda tell: scenario.measure(other, rate, seconds, warm_up, rounds, port_base, tell), json)


def storage(
    requests: Annotated[
        int, typer.Option(min=1000, help="Completions; many, so that pages are full.")
    ] = 50_000,
    rate: Annotated[float, typer.Option(min=1, help="Completions a second.")] = 1000.0,
    matching_percent: Matching = 10,
    port_base: PortBase = 15_000,
    json: Json = False,
) -> None:
    """Bytes on disk of a completion and a message: tables with their indexes, topics of the brokers.

    Sizes do not depend on other load on the machine. All ids are reconciled before the sizes are read.

    Exit codes: 0 measured, 1 a completion was lost or repeated: no figures, 2 not measured.

    Example:

      quizstream bench storage --json > benchmarks/results/storage.json
    """
    from benchmarks.scenarios import storage as scenario

    report_whole(
        lambda found, tell: scenario.measure(found, requests, rate, matching_percent, tell), port_base, json
    )
