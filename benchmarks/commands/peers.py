"""`quizstream bench peers`"""

from __future__ import annotations

from typing import Annotated

import typer

from benchmarks.commands.options import Json, PortBase, Rounds, WarmUp, report


def peers(
    side: Annotated[
        list[str] | None,
        typer.Option(
            help="May be given again. Stages: quizstream, quix, kafka-streams (all of them without this "
            "option). Journey: quizstream, bullmq."
        ),
    ] = None,
    rounds: Rounds = 3,
    records: Annotated[
        int, typer.Option(min=5000, help="Stages: completions of a turn; kafka-streams gets three times.")
    ] = 100_000,
    rate: Annotated[float, typer.Option(min=1, help="Journey: completions a second offered.")] = 1667.0,
    seconds: Annotated[float, typer.Option(min=1, help="Journey: measured time of each turn.")] = 60.0,
    warm_up: WarmUp = 15.0,
    port_base: PortBase = 15_000,
    json: Json = False,
) -> None:
    """This project beside its alternatives, on the same work, interleaved in one run.

    Stages: Quix Streams and Kafka Streams (needs a javac, else it is left out), with the same windows,
    campaigns and records. "empty" reads only, "qualify" limits and matches, "dedup" lets the first of
    campaign and contact pass. Journey, with `bullmq`: Express, BullMQ, Valkey and PostgreSQL (needs node 20)
    under the load of `bench e2e`. See benchmarks/peers/README.md.

    The output of every side is checked by id before a figure is printed. Packages of the peers are fetched at
    first use, by hash, into the user's cache.

    Exit codes: 0 measured, 1 the output of a side is wrong: no figures, 2 not measured.

    Examples:

      quizstream bench peers --side quizstream --side quix --rounds 5 --json

      quizstream bench peers --side quizstream --side bullmq --rate 3000 --seconds 60
    """
    from benchmarks.peers import journey, stages

    sides = list(dict.fromkeys(side or stages.PEERS))
    whole = journey.BULLMQ in sides
    known = journey.SIDES if whole else stages.PEERS
    unknown = [name for name in sides if name not in known]
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)}: choose from {', '.join(known)}", param_hint="--side")
    if whole:
        from benchmarks.load.plan import Plan

        plan = Plan(rate, seconds, warm_up_s=warm_up)
        report(lambda tell: journey.measure(sides, plan, rounds, port_base, tell), json)
    report(lambda tell: stages.measure(sides, records, rounds, port_base, tell), json)
