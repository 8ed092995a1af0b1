"""`quizstream bench shapes backlog|spike|users|rebalance`"""

from __future__ import annotations

from typing import Annotated

import typer

from benchmarks.commands.options import Json, Matching, PortBase, WarmUp, report, report_whole

shapes = typer.Typer(
    name="shapes",
    help="Loads that are not constant. All ids are reconciled before a figure is printed.",
    no_args_is_help=True,
)


@shapes.command()
def backlog(
    records: Annotated[int, typer.Option(min=100, help="Completions that wait.")] = 1_000_000,
    matching_percent: Matching = 10,
    port_base: PortBase = 15_000,
    json: Json = False,
) -> None:
    """Time in which a backlog is drained: worker and sink are stopped while a topic fills, then started.

    Counts from their start to the last row and verdict visible in PostgreSQL, and to the last message. A
    million completions take about 3 GB of disk for the run.

    Exit codes: 0 measured, 1 a completion was lost or repeated: no figures, 2 not measured.

    Example:

      quizstream bench shapes backlog --records 20000
    """
    from benchmarks.scenarios import backlog as scenario

    report(lambda tell: scenario.measure(records, matching_percent, port_base, tell), json)


@shapes.command()
def spike(
    rate: Annotated[float, typer.Option(min=1, help="Completions a second before and after.")] = 500.0,
    times: Annotated[float, typer.Option(min=1.1, help="Rate in the spike over the rate before.")] = 5.0,
    seconds: Annotated[float, typer.Option(min=1, help="Length of the spike.")] = 30.0,
    after: Annotated[float, typer.Option(min=1, help="Seconds of load after it.")] = 60.0,
    warm_up: WarmUp = 15.0,
    matching_percent: Matching = 10,
    port_base: PortBase = 15_000,
    json: Json = False,
) -> None:
    """Five times the load for half a minute: latency before, in and after it, and the time to recover.

    Open loop: latency counts from when a request was due.

    Exit codes: 0 measured, 1 a completion was lost, repeated or refused: no figures, 2 not measured.

    Example:

      quizstream bench shapes spike --rate 100 --seconds 5 --after 10 --warm-up 5
    """
    from benchmarks.scenarios import spike as scenario

    plan = scenario.Plan(rate, times, seconds, after, matching_percent, warm_up)
    report_whole(lambda found, tell: scenario.measure(found, plan, tell), port_base, json)


@shapes.command()
def users(
    user: Annotated[
        list[int] | None, typer.Option(min=1, help="Users at once; may be given again: one crowd each.")
    ] = None,
    think: Annotated[
        float, typer.Option(min=0.01, help="Seconds from an answer to the next request, on average.")
    ] = 1.0,
    seconds: Annotated[float, typer.Option(min=2, help="Length of each crowd's load.")] = 60.0,
    matching_percent: Matching = 10,
    port_base: PortBase = 15_000,
    json: Json = False,
) -> None:
    """100, 500 and 1,000 users at once on as many connections, who think after each answer.

    Closed loop: latency counts from when a completion was first sent. For a constant rate see `bench e2e`.

    Exit codes: 0 measured, 1 a completion was lost, repeated or refused: no figures, 2 not measured.

    Example:

      quizstream bench shapes users --user 100 --seconds 10
    """
    from benchmarks.scenarios import users as scenario

    counts = user or [100, 500, 1000]
    report_whole(
        lambda found, tell: scenario.measure(found, counts, think, seconds, matching_percent, tell),
        port_base,
        json,
    )


@shapes.command()
def rebalance(
    rate: Annotated[float, typer.Option(min=1, help="Completions a second.")] = 800.0,
    turns: Annotated[int, typer.Option(min=1, help="Times that a second worker joins and leaves.")] = 3,
    apart: Annotated[float, typer.Option(min=5, help="Seconds between two changes.")] = 20.0,
    matching_percent: Matching = 10,
    port_base: PortBase = 15_000,
    json: Json = False,
) -> None:
    """A second worker joins and leaves in an orderly way under load: traffic that is processed again.

    Exit codes: 0 at most 5 s of traffic for each change, 1 more, or a completion was lost or repeated, 2 not
    measured.

    Example:

      quizstream bench shapes rebalance --rate 100 --turns 1 --apart 12
    """
    from benchmarks.scenarios import rebalance as scenario

    plan = scenario.Plan(rate, turns, apart, matching_percent)
    report_whole(lambda found, tell: scenario.measure(found, plan, tell), port_base, json)
