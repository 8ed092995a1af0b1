"""The whole journey, this project's and the design that it replaces, in turns of one run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import msgspec

from benchmarks.e2e import Plan
from benchmarks.machine import Machine, commit, machine, now
from benchmarks.parts import Spread
from benchmarks.peers import bullmq_side, own_side
from benchmarks.peers.turn import Side, Tell, Turn, take

OWN, BULLMQ = "quizstream", "bullmq"
SIDES: dict[str, Callable[[Plan, int, Tell], AbstractContextManager[Side]]] = {
    OWN: own_side.running,
    BULLMQ: bullmq_side.running,
}


class Summary(msgspec.Struct, frozen=True):
    """Over the rounds."""

    accepted_per_s: Spread
    drained_per_s: Spread
    drained_to_empty_per_s: Spread
    ack_p50_ms: Spread
    ack_p99_ms: Spread
    emptied_s: Spread
    cpu_us_per_completion: Spread


class Result(msgspec.Struct, frozen=True):
    """`drained_ratio`: this project's median over the other's; absent where only one side ran."""

    kind: str
    at: str
    commit: str
    machine: Machine
    plan: Plan
    rounds: int
    sides: dict[str, Summary]
    turns: dict[str, list[Turn]]
    drained_ratio: float | None
    drained_to_empty_ratio: float | None
    accepted_ratio: float | None


def measure(sides: Sequence[str], plan: Plan, rounds: int, port_base: int, tell: Tell) -> Result:
    """Raises Wrong, CannotStart, Missing, LoadBroken."""
    described, began = machine(), now()
    turns: dict[str, list[Turn]] = {name: [] for name in sides}
    for round_ in range(rounds):
        # Each side goes first in every other round: neither always finds the warmer machine.
        for name in sides if round_ % 2 == 0 else reversed(sides):
            tell(f"round {round_ + 1} of {rounds}: {name}")
            with SIDES[name](plan, port_base, tell) as side:
                turn = take(side, plan, tell)
            turns[name].append(turn)
            tell(f"{name}: {turn.accepted_per_s:,}/s accepted, {turn.drained_per_s:,}/s drained")
    summaries = {name: _summary(taken) for name, taken in turns.items()}
    return Result(
        kind="peers-journey",
        at=began,
        commit=commit(),
        machine=described,
        plan=plan,
        rounds=rounds,
        sides=summaries,
        turns=turns,
        drained_ratio=_ratio(summaries, lambda of: of.drained_per_s),
        drained_to_empty_ratio=_ratio(summaries, lambda of: of.drained_to_empty_per_s),
        accepted_ratio=_ratio(summaries, lambda of: of.accepted_per_s),
    )


def _summary(turns: Sequence[Turn]) -> Summary:
    def of(value: Callable[[Turn], float | None]) -> Spread:
        return Spread.of([value(turn) or 0.0 for turn in turns])

    return Summary(
        accepted_per_s=of(lambda turn: turn.accepted_per_s),
        drained_per_s=of(lambda turn: turn.drained_per_s),
        drained_to_empty_per_s=of(lambda turn: turn.drained_to_empty_per_s),
        ack_p50_ms=of(lambda turn: turn.ack_ms.p50),
        ack_p99_ms=of(lambda turn: turn.ack_ms.p99),
        emptied_s=of(lambda turn: turn.emptied_s),
        cpu_us_per_completion=of(lambda turn: turn.cpu_us_per_completion),
    )


def _ratio(summaries: dict[str, Summary], value: Callable[[Summary], Spread]) -> float | None:
    if OWN not in summaries or BULLMQ not in summaries:
        return None
    return round(value(summaries[OWN]).median / max(0.01, value(summaries[BULLMQ]).median), 2)


def text(result: Result) -> str:
    """For a person."""
    lines = [f"{result.plan.rate_per_s:g}/s offered for {result.plan.seconds:g} s, {result.rounds} rounds"]
    lines.append(
        f"{'':12} {'accepted/s':>22} {'drained/s':>22} {'to empty/s':>22} {'ack p99 ms':>24} {'CPU us':>20}"
    )
    for name, side in result.sides.items():
        cells = [
            _cell(side.accepted_per_s),
            _cell(side.drained_per_s),
            _cell(side.drained_to_empty_per_s),
        ]
        cells = [f"{cell:>22}" for cell in cells]
        cells += [f"{_cell(side.ack_p99_ms):>24}", f"{_cell(side.cpu_us_per_completion):>20}"]
        lines.append(f"{name:12} {' '.join(cells)}")
    for name, turns in result.turns.items():
        last: Any = turns[-1]
        used = ", ".join(f"{process} {cpu_s:g}" for process, cpu_s in last.cpu_s.items())
        lines.append(f"{name}: CPU seconds of the last turn: {used}")
        unanswered = sum(turn.unanswered for turn in turns)
        if unanswered:
            lines.append(f"{name}: {unanswered:,} requests had no answer a minute after the load; no latency")
    if result.drained_ratio is not None:
        lines.append(
            f"{OWN} over {BULLMQ}: drained {result.drained_ratio}x, "
            f"to empty {result.drained_to_empty_ratio}x, accepted {result.accepted_ratio}x"
        )
    return "\n".join(lines)


def _cell(spread: Spread) -> str:
    return f"{spread.median:,.0f} ({spread.min:,.0f}-{spread.max:,.0f})"
