"""The stages of this project and of other stream frameworks: the same records, codec, windows and campaigns.

Interleaved in one run, each turn on topics of its own. The output of a turn is compared by completion id with
the expected output of the same records before it counts.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence

import msgspec

from benchmarks.measure.deployment import Log, broker
from benchmarks.measure.figures import Spread, spreads
from benchmarks.measure.machine import Measured, begin
from benchmarks.peers import install
from benchmarks.peers.process import WAYS
from benchmarks.peers.stage_turn import StageRun, take_turn
from benchmarks.plans import Peers

OWN, STOCK = "quizstream", "faust"
PEERS = (OWN, "quix", "kafka-streams")
# Faust takes long, one by one. The compiler of Kafka Streams still works during the first records.
RECORDS_RATIO = {STOCK: 0.2, "kafka-streams": 3.0}


class SideResult(msgspec.Struct, frozen=True):
    """`ways`: `cost` of each. `completions_per_cpu_s`: through all three stages, with state."""

    ways: dict[str, dict[str, Spread]]
    completions_per_cpu_s: Spread


class Result(Measured, frozen=True, kw_only=True):
    """The ratios are this project's medians over each other side's: above 1 it does more with a CPU second.

    `skipped`: sides that could not run here.
    """

    plan: Peers
    sides: dict[str, SideResult]
    ratio_with_state: dict[str, float]
    ratio_without_state: dict[str, float]
    skipped: list[str]


def measure(plan: Peers, log: Log) -> Result:
    """Raises CheckFailed, CannotStart, LoadBroken."""
    head = begin("peers-stages")
    taken = take(plan.sides, WAYS, plan.records, plan.rounds, plan.port_base, log)
    results = {
        name: SideResult(
            {way: cost([turn[way] for turn in turns]) for way in WAYS},
            Spread.of([1 / _cpu_s_per_completion(turn) for turn in turns]),
        )
        for name, turns in taken.items()
    }
    return Result(
        **head,
        plan=plan,
        sides=results,
        ratio_with_state=_ratios(results, lambda side: side.completions_per_cpu_s),
        ratio_without_state=_ratios(results, lambda side: side.ways["empty"]["events_per_cpu_s"]),
        skipped=[name for name in plan.sides if name not in taken],
    )


def take(
    sides: Sequence[str], ways: Sequence[str], records: int, rounds: int, port_base: int, log: Log
) -> dict[str, list[dict[str, StageRun]]]:
    """Each side in each round, in alternating order, on one broker of their own; without what is missing."""
    commands: dict[str, list[str]] = {}
    for name in dict.fromkeys(sides):
        try:
            commands[name] = _command(name, log)
        except install.Missing as missing:
            log(f"{name} is left out: {missing}")
    taken: dict[str, list[dict[str, StageRun]]] = {name: [] for name in commands}
    with broker(log, port_base) as kafka:
        for turn in range(rounds):
            for name in commands if turn % 2 == 0 else reversed(commands):
                log(f"round {turn + 1} of {rounds}: {name}")
                count = int(records * RECORDS_RATIO.get(name, 1.0))
                taken[name].append(take_turn(kafka, commands[name], ways, count))
    return taken


def cost(runs: Sequence[StageRun]) -> dict[str, Spread]:
    """An event is a completion read, for `dedup` a match. The broker's CPU is of the process's whole time."""
    return spreads(
        [
            {
                "events_per_s": one.records / one.wall_s,
                "events_per_cpu_s": one.records / one.cpu_s,
                "cpu_us_per_event": 1e6 * one.cpu_s / one.records,
                "broker_cpu_us_per_event": 1e6 * one.broker_cpu_s / one.records,
            }
            for one in runs
        ]
    )


def _command(side: str, log: Log) -> list[str]:
    """Without the arguments of `benchmarks.peers.process`. Raises Missing."""
    if side == "kafka-streams":
        install.kafka_streams(log)
    program = str(install.python(log)) if side == "quix" else sys.executable
    module = {OWN: "own_process"}.get(side, f"{side.replace('-', '_')}_process")
    return [program, "-m", f"benchmarks.peers.{module}"]


def _cpu_s_per_completion(turn: Mapping[str, StageRun]) -> float:
    """Every completion of the input matches one campaign: a match for each."""
    return sum(turn[way].cpu_s / turn[way].records for way in ("qualify", "dedup"))


def _ratios(results: Mapping[str, SideResult], value: Callable[[SideResult], Spread]) -> dict[str, float]:
    if OWN not in results:
        return {}
    own = value(results[OWN]).median
    return {name: round(own / value(side).median, 2) for name, side in results.items() if name != OWN}
