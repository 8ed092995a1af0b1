"""`quizstream bench shapes backlog|spike|users|rebalance`"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ops.commands.bench_print import print_result

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.subject import Tell
    from ops.locate import Deployment

shapes = typer.Typer(
    name="shapes",
    help="Loads that are not constant: a backlog, a spike, people who wait for their answer. Each is checked "
    "by id before a figure is printed.",
    no_args_is_help=True,
)

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
PortBase = Annotated[
    int, typer.Option(help="First port of the deployment that is started for the measurement.")
]
Matching = Annotated[
    int, typer.Option(min=0, max=100, help="How many of a hundred completions match the campaign.")
]


@shapes.command()
def backlog(
    records: Annotated[int, typer.Option(min=100, help="Completions that wait.")] = 1_000_000,
    matching_percent: Matching = 10,
    port_base: PortBase = 15_000,
    json: Json = False,
) -> None:
    """How long a backlog takes: the worker and the sink are stopped, a topic fills, both are started again.

    Counts from their start to the last row and the last verdict visible in Postgres, and to the last message.
    A million completions take about 3 GB of disk for the run.

    Exit codes: 0 measured, 1 something was lost or done twice: there are no figures, 2 nothing could be
    measured.

    Examples:

      quizstream bench shapes backlog --json

      quizstream bench shapes backlog --records 20000
    """
    from benchmarks import shapes_backlog as measurement

    print_result(lambda tell: measurement.measure(records, matching_percent, port_base, tell), json)


@shapes.command()
def spike(
    rate: Annotated[float, typer.Option(min=1, help="Completions a second before and after.")] = 500.0,
    times: Annotated[float, typer.Option(min=1.1, help="How many times as many in the spike.")] = 5.0,
    seconds: Annotated[float, typer.Option(min=1, help="How long the spike lasts.")] = 30.0,
    after: Annotated[float, typer.Option(min=1, help="Seconds that are watched after it.")] = 60.0,
    warm_up: Annotated[float, typer.Option(min=1, help="Seconds at the base rate that do not count.")] = 15.0,
    matching_percent: Matching = 10,
    port_base: PortBase = 15_000,
    json: Json = False,
) -> None:
    """Five times the load for half a minute: what answers take before, in and after it, and until it is gone.

    Open loop: latency counts from when a request was due.

    Exit codes: 0 measured, 1 something was lost, done twice or refused: there are no figures, 2 nothing could
    be measured.

    Examples:

      quizstream bench shapes spike --rate 500 --json

      quizstream bench shapes spike --rate 100 --seconds 5 --after 10 --warm-up 5
    """
    from benchmarks import shapes_spike as measurement

    plan = measurement.Plan(rate, times, seconds, after, matching_percent, warm_up)
    print_result(_on_its_own(port_base, lambda found, tell: measurement.measure(found, plan, tell)), json)


@shapes.command()
def users(
    user: Annotated[
        list[int] | None, typer.Option(min=1, help="So many at once; may be given again: one crowd each.")
    ] = None,
    think: Annotated[
        float, typer.Option(min=0.01, help="Seconds between an answer and the next request, in the mean.")
    ] = 1.0,
    seconds: Annotated[float, typer.Option(min=2, help="How long a crowd stays.")] = 60.0,
    matching_percent: Matching = 10,
    port_base: PortBase = 15_000,
    json: Json = False,
) -> None:
    """Concurrent users, 100, 500 and 1,000 of them: a connection each, who think and then answer.

    Closed loop: latency counts from when a completion was first sent. For a constant rate see `bench e2e`.

    Exit codes: 0 measured, 1 something was lost, done twice or refused: there are no figures, 2 nothing could
    be measured.

    Examples:

      quizstream bench shapes users --json

      quizstream bench shapes users --user 100 --seconds 10
    """
    from benchmarks import shapes_users as measurement

    counts = user or [100, 500, 1000]
    print_result(
        _on_its_own(
            port_base,
            lambda found, tell: measurement.measure(found, counts, think, seconds, matching_percent, tell),
        ),
        json,
    )


@shapes.command()
def rebalance(
    rate: Annotated[float, typer.Option(min=1, help="Completions a second.")] = 800.0,
    turns: Annotated[int, typer.Option(min=1, help="How often a second worker comes and goes.")] = 3,
    apart: Annotated[float, typer.Option(min=5, help="Seconds between two changes.")] = 20.0,
    matching_percent: Matching = 10,
    port_base: PortBase = 15_000,
    json: Json = False,
) -> None:
    """Workers join and leave in an orderly way under load: how much of the traffic is processed again.

    Exit codes: 0 measured and at most 5 s of traffic for each change, 1 more than that, or something was lost
    or done twice, 2 nothing could be measured.

    Examples:

      quizstream bench shapes rebalance --rate 800 --json

      quizstream bench shapes rebalance --rate 100 --turns 1 --apart 12
    """
    from benchmarks import shapes_rebalance as measurement

    plan = measurement.Plan(rate, turns, apart, matching_percent)
    print_result(_on_its_own(port_base, lambda found, tell: measurement.measure(found, plan, tell)), json)


def _on_its_own(port_base: int, measure: Callable[[Deployment, Tell], object]) -> Callable[[Tell], object]:
    """On a deployment that is started for it and removed afterwards."""

    def run(tell: Tell) -> object:
        from benchmarks import subject

        with subject.own(tell, port_base) as found:
            return measure(found, tell)

    return run
