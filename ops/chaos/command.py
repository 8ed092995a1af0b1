"""`quizstream chaos`."""

from __future__ import annotations

from typing import Annotated

import typer

from ops.exits import INTERRUPTED, NO, OK


def chaos(
    seed: Annotated[int, typer.Option(help="The same seed gives the same schedule.")] = 1,
    minutes: Annotated[float, typer.Option(min=0.1, help="How long load and faults last.")] = 10.0,
    rate: Annotated[float, typer.Option(min=1, help="Completions a second, whatever happens.")] = 550.0,
    brokers: Annotated[int, typer.Option(min=1, max=3, help="Kafka brokers: 1 or 3.")] = 1,
    plan: Annotated[bool, typer.Option("--plan", help="Print the schedule and end.")] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the run's home also when all gates hold.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Drive real load over HTTP, break things as the seed says, and prove that the ledger holds.

    Runs on servers and in a home of its own, on the ports from QUIZSTREAM_PORT_BASE on (two hundred of them).
    Every process is killed, asked to stop and stopped; Kafka, PostgreSQL and Valkey are killed, the disk and
    the memory are full, clocks jump; links between parts delay, drop and lose replies; the provider hangs,
    throttles and lies; nobody may be lost or called twice. Where a gate does not hold, the seed, the schedule
    and the history of the ids are printed.

    Exit codes: 0 all gates hold, 1 one does not, 2 the run could not be started.

    Examples:

      quizstream chaos --seed 1 --minutes 10

      quizstream chaos --seed 7 --minutes 3 --json

      quizstream chaos --seed 7 --minutes 3 --plan
    """
    import sys

    import msgspec

    from ops.chaos import run, show
    from ops.deployment.up import end_on_sigterm
    from ops.embedded.home import Home

    chosen = run.Plan(seed, minutes * 60, rate, accepted_per_s_min=rate / 1.1, brokers=brokers)
    if plan:
        print(show.plan_json(chosen) if json else show.plan_text(chosen))
        raise typer.Exit(OK)
    end_on_sigterm()
    home = run.fresh_home(Home.from_env().path, seed)
    try:
        outcome = run.chaos(chosen, home, tell=lambda line: print(line, file=sys.stderr, flush=True))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    print(msgspec.json.encode(outcome).decode() if json else show.text(outcome, chosen))
    if outcome.ok and not keep:
        home.remove()
    raise typer.Exit(OK if outcome.ok else NO)


def register(app: typer.Typer) -> None:
    """Adds `quizstream chaos`."""
    app.command()(chaos)
