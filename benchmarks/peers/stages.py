"""The three stages, this project's and those of its peers: the same records, codec, windows and campaigns.

In turns of one run, each turn on topics of its own. What a turn wrote is held against what the stages say of
the same records, by completion id, before it counts.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from benchmarks.machine import Machine, commit, machine, now
from benchmarks.parts import Spread
from benchmarks.peers import install
from benchmarks.peers.stage_turn import Measured, StageTurn
from ops.embedded.ports import Ports
from ops.embedded.stack import DATABASE_ENV, REDIS_ENV, EmbeddedStack

OWN = "quizstream"
RECORDS = 100_000
SLOW_RATIO = 0.2  # stock Faust gets fewer records: one by one takes long
WARM_RATIO = 3.0  # Kafka Streams gets more: its compiler is still at work in the first of them
NOT_USED = "not used"

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Peer:
    """`command` makes what is run, before the arguments of `benchmarks.peers.process`. Raises Missing."""

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
    "plain": Peer(_module("plain_process")),
    "faust": Peer(_module("faust_process"), SLOW_RATIO),
    "kafka-streams": Peer(_kafka_streams, WARM_RATIO),
}


class Cost(msgspec.Struct, frozen=True):
    """An event is a completion read, for `dedup` a match. The broker's is of the process's whole time."""

    events_per_s: Spread
    events_per_cpu_s: Spread
    cpu_us_per_event: Spread
    broker_cpu_us_per_event: Spread


class SideResult(msgspec.Struct, frozen=True):
    """`completions_per_cpu_s`: through all three stages, with state, in one CPU second of the processes."""

    records: int
    ways: dict[str, Cost]
    completions_per_cpu_s: Spread


class Result(msgspec.Struct, frozen=True):
    """The ratios are this project's medians over each other side's: above 1 it does more with a CPU second.

    `skipped`: side -> why it did not run.
    """

    kind: str
    at: str
    commit: str
    machine: Machine
    rounds: int
    sides: dict[str, SideResult]
    ratio_with_state: dict[str, float]
    ratio_without_state: dict[str, float]
    skipped: dict[str, str]


def measure(sides: Sequence[str], records: int, rounds: int, port_base: int, tell: Tell) -> Result:
    """Raises Wrong, CannotStart."""
    described, began = machine(), now()
    commands: dict[str, list[str]] = {}
    skipped: dict[str, str] = {}
    for name in sides:
        try:
            commands[name] = PEERS[name].command(tell)
        except install.Missing as missing:
            tell(f"{name} is left out: {missing}")
            skipped[name] = str(missing)
    taken: dict[str, list[dict[str, Measured]]] = {name: [] for name in commands}
    with _broker(port_base, tell) as (bootstrap, broker_pid):
        for round_ in range(rounds):
            for name in commands if round_ % 2 == 0 else reversed(commands):
                tell(f"round {round_ + 1} of {rounds}: {name}")
                turn = StageTurn(bootstrap, broker_pid, int(records * PEERS[name].records_ratio))
                measured = turn.take(commands[name])
                taken[name].append(measured)
                tell(f"{name}: {1e6 * _cpu_s_per_completion(measured):.1f} us of CPU a completion")
    results = {
        name: _summary(int(records * PEERS[name].records_ratio), turns) for name, turns in taken.items()
    }
    return Result(
        kind="peers-stages",
        at=began,
        commit=commit(),
        machine=described,
        rounds=rounds,
        sides=results,
        ratio_with_state=_ratios(results, lambda side: side.completions_per_cpu_s),
        ratio_without_state=_ratios(results, lambda side: side.ways["empty"].events_per_cpu_s),
        skipped=skipped,
    )


def _summary(records: int, turns: Sequence[dict[str, Measured]]) -> SideResult:
    ways = {}
    for way in turns[0]:
        of = [turn[way] for turn in turns]
        ways[way] = Cost(
            events_per_s=Spread.of([one.records / one.wall_s for one in of]),
            events_per_cpu_s=Spread.of([one.records / one.cpu_s for one in of]),
            cpu_us_per_event=Spread.of([1e6 * one.cpu_s / one.records for one in of]),
            broker_cpu_us_per_event=Spread.of([1e6 * one.broker_cpu_s / one.records for one in of]),
        )
    return SideResult(records, ways, Spread.of([1 / _cpu_s_per_completion(turn) for turn in turns]))


def _cpu_s_per_completion(turn: Mapping[str, Measured]) -> float:
    """Every completion of the bench's input matches one campaign: a match for each."""
    return sum(turn[way].cpu_s / turn[way].records for way in ("qualify", "dedup"))


def _ratios(results: Mapping[str, SideResult], value: Callable[[SideResult], Spread]) -> dict[str, float]:
    if OWN not in results:
        return {}
    own = value(results[OWN]).median
    return {name: round(own / value(side).median, 2) for name, side in results.items() if name != OWN}


@contextmanager
def _broker(port_base: int, tell: Tell) -> Iterator[tuple[str, int]]:
    """Kafka alone: its address and process id. Raises CannotStart."""
    with tempfile.TemporaryDirectory(prefix="quizstream-peers-") as folder:
        env = {DATABASE_ENV: NOT_USED, REDIS_ENV: NOT_USED}
        stack = EmbeddedStack(Path(folder), Ports.from_base(port_base), tell, env=env)
        try:
            bootstrap = stack.start().kafka_bootstrap
            yield bootstrap, stack.pids["kafka-1"]
        finally:
            stack.stop()


def text(result: Result) -> str:
    """For a person."""
    head = f"{'':14} {'':8} {'events/s':>26} {'events/CPU s':>26} {'CPU us':>20} {'broker us':>18}"
    lines = [f"{result.rounds} rounds; medians (least-most)", head]
    for name, side in result.sides.items():
        for way, cost in side.ways.items():
            rates = f"{_cell(cost.events_per_s):>26} {_cell(cost.events_per_cpu_s):>26}"
            us = f"{_cell(cost.cpu_us_per_event, 1):>20} {_cell(cost.broker_cpu_us_per_event, 1):>18}"
            lines.append(f"{name:14} {way:8} {rates} {us}")
        lines.append(f"{name:14} three stages: {_cell(side.completions_per_cpu_s)} completions a CPU second")
    for name in result.ratio_with_state:
        lines.append(
            f"{OWN} over {name}: {result.ratio_with_state[name]}x with state, "
            f"{result.ratio_without_state[name]}x without"
        )
    lines += [f"{name} was left out: {why}" for name, why in result.skipped.items()]
    return "\n".join(lines)


def _cell(spread: Spread, digits: int = 0) -> str:
    return f"{spread.median:,.{digits}f} ({spread.min:,.{digits}f}-{spread.max:,.{digits}f})"
