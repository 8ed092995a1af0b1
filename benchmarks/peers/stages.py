"""The stages of this project and of other stream frameworks: the same records, codec, windows and campaigns.

Interleaved in one run, each turn on topics of its own. The output of a turn is compared by completion id with
the expected output of the same records before it counts.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from benchmarks.measure.deployment import Tell, broker
from benchmarks.measure.figures import Spread
from benchmarks.measure.machine import Measured, begin
from benchmarks.peers import install
from benchmarks.peers.process import WAYS
from benchmarks.peers.stage_turn import StageRun, take_turn

OWN, STOCK = "quizstream", "faust"
SLOW_RATIO = 0.2  # stock Faust gets fewer records: record by record takes long
WARM_RATIO = 3.0  # Kafka Streams gets more: its compiler still works during the first of them


@dataclass(frozen=True, slots=True)
class Peer:
    """`command` returns the program, without the arguments of `benchmarks.peers.process`. Raises Missing."""

    command: Callable[[Tell], list[str]]
    records_ratio: float = 1.0


def _module(name: str) -> Callable[[Tell], list[str]]:
    return lambda _tell: [sys.executable, "-m", f"benchmarks.peers.{name}"]


def _kafka_streams(tell: Tell) -> list[str]:
    install.kafka_streams(tell)
    return _module("kafka_streams_process")(tell)


PEERS: Mapping[str, Peer] = {
    OWN: Peer(_module("own_process")),
    "quix": Peer(lambda tell: [str(install.python(tell)), "-m", "benchmarks.peers.quix_process"]),
    "kafka-streams": Peer(_kafka_streams, WARM_RATIO),
}
STOCK_PEER = Peer(_module("faust_process"), SLOW_RATIO)  # an empty stage only


class Cost(msgspec.Struct, frozen=True):
    """An event is a completion read, for `dedup` a match. The broker's CPU is of the process's whole time."""

    events_per_s: Spread
    events_per_cpu_s: Spread
    cpu_us_per_event: Spread
    broker_cpu_us_per_event: Spread

    @classmethod
    def of(cls, runs: Sequence[StageRun]) -> Cost:
        return cls(
            events_per_s=Spread.of([one.records / one.wall_s for one in runs]),
            events_per_cpu_s=Spread.of([one.records / one.cpu_s for one in runs]),
            cpu_us_per_event=Spread.of([1e6 * one.cpu_s / one.records for one in runs]),
            broker_cpu_us_per_event=Spread.of([1e6 * one.broker_cpu_s / one.records for one in runs]),
        )


class SideResult(msgspec.Struct, frozen=True):
    """`completions_per_cpu_s`: through all three stages, with state, in one CPU second of the processes."""

    records: int
    ways: dict[str, Cost]
    completions_per_cpu_s: Spread


class Result(Measured, frozen=True, kw_only=True):
    """The ratios are this project's medians over each other side's: above 1 it does more with a CPU second.

    `skipped`: side -> why it did not run.
    """

    rounds: int
    sides: dict[str, SideResult]
    ratio_with_state: dict[str, float]
    ratio_without_state: dict[str, float]
    skipped: dict[str, str]


Turns = dict[str, list[dict[str, StageRun]]]


def measure(sides: Sequence[str], records: int, rounds: int, port_base: int, tell: Tell) -> Result:
    """Raises CheckFailed, CannotStart, LoadBroken."""
    head = begin("peers-stages")
    commands: dict[str, list[str]] = {}
    skipped: dict[str, str] = {}
    for name in sides:
        try:
            commands[name] = PEERS[name].command(tell)
        except install.Missing as missing:
            tell(f"{name} is left out: {missing}")
            skipped[name] = str(missing)
    counts = {name: int(records * PEERS[name].records_ratio) for name in commands}
    taken = interleaved(commands, counts, WAYS, rounds, port_base, tell)
    results = {
        name: SideResult(
            counts[name],
            {way: Cost.of([turn[way] for turn in turns]) for way in WAYS},
            Spread.of([1 / _cpu_s_per_completion(turn) for turn in turns]),
        )
        for name, turns in taken.items()
    }
    return Result(
        **head,
        rounds=rounds,
        sides=results,
        ratio_with_state=_ratios(results, lambda side: side.completions_per_cpu_s),
        ratio_without_state=_ratios(results, lambda side: side.ways["empty"].events_per_cpu_s),
        skipped=skipped,
    )


def interleaved(
    commands: Mapping[str, list[str]],
    counts: Mapping[str, int],
    ways: Sequence[str],
    rounds: int,
    port_base: int,
    tell: Tell,
) -> Turns:
    """Each side in each round, in alternating order, on one broker of their own."""
    taken: Turns = {name: [] for name in commands}
    with broker(tell, port_base) as kafka:
        for turn in range(rounds):
            for name in commands if turn % 2 == 0 else reversed([*commands]):
                tell(f"round {turn + 1} of {rounds}: {name}")
                taken[name].append(take_turn(kafka, commands[name], ways, counts[name]))
    return taken


def _cpu_s_per_completion(turn: Mapping[str, StageRun]) -> float:
    """Every completion of the input matches one campaign: a match for each."""
    return sum(turn[way].cpu_s / turn[way].records for way in ("qualify", "dedup"))


def _ratios(results: Mapping[str, SideResult], value: Callable[[SideResult], Spread]) -> dict[str, float]:
    if OWN not in results:
        return {}
    own = value(results[OWN]).median
    return {name: round(own / value(side).median, 2) for name, side in results.items() if name != OWN}
