"""`quizstream chaos`."""

from __future__ import annotations

from typing import Annotated

import typer

from ops.exits import INTERRUPTED, NO, OK


def chaos(
    seed: Annotated[int, typer.Option(help="The same seed gives the same schedule.")] = 1,
    minutes: Annotated[float, typer.Option(min=0.1, help="Duration of load and faults, in minutes.")] = 10.0,
    rate: Annotated[
        float, typer.Option(min=1, help="Completions per second, independent of the response time.")
    ] = 550.0,
    brokers: Annotated[int, typer.Option(min=1, max=3, help="Kafka brokers: 1 or 3.")] = 1,
    plan: Annotated[bool, typer.Option("--plan", help="Print the schedule and end.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the run's home even if all gates hold.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Run load over HTTP, inject faults from a seed, and audit the ledger.

    Uses its own servers and home, on 200 ports from QUIZSTREAM_PORT_BASE. Faults: processes are killed,
    terminated and stopped; Kafka, PostgreSQL and Valkey are killed; disk and memory are full; clocks jump;
    links delay, drop and lose replies; the provider hangs, throttles and returns wrong answers. No completion
    may be lost and no contact called twice. If a gate does not hold, the seed, the schedule and the history
    of the ids are printed.

    Exit codes: 0 all gates hold, 1 a gate does not hold, 2 the run did not start.

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
        outcome = run.chaos(chosen, home, progress=lambda line: print(line, file=sys.stderr, flush=True))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    print(msgspec.json.encode(outcome).decode() if json else show.text(outcome, chosen))
    if outcome.ok and not keep:
        home.remove()
    raise typer.Exit(OK if outcome.ok else NO)


def register(app: typer.Typer) -> None:
    """Add `quizstream chaos`."""
    app.command()(chaos)
