"""The whole journey, this project's and the design that it replaces, interleaved in one run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import msgspec

from benchmarks.load.plan import Plan
from benchmarks.measure.deployment import Tell
from benchmarks.measure.figures import Spread
from benchmarks.measure.machine import Measured, begin
from benchmarks.peers import bullmq_side, own_side
from benchmarks.peers.turn import Side, Turn, take

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


class Result(Measured, frozen=True, kw_only=True):
    """`drained_ratio`: this project's median over the other's; None where only one side ran."""

    plan: Plan
    rounds: int
    sides: dict[str, Summary]
    turns: dict[str, list[Turn]]
    drained_ratio: float | None
    drained_to_empty_ratio: float | None
    accepted_ratio: float | None


def measure(sides: Sequence[str], plan: Plan, rounds: int, port_base: int, tell: Tell) -> Result:
    """Raises CheckFailed, CannotStart, Missing, LoadBroken."""
    head = begin("peers-journey")
    turns: dict[str, list[Turn]] = {name: [] for name in sides}
    for turn_number in range(rounds):
        # Each side goes first in every other round, so that none always gets the warmer machine.
        for name in sides if turn_number % 2 == 0 else reversed(sides):
            tell(f"round {turn_number + 1} of {rounds}: {name}")
            with SIDES[name](plan, port_base, tell) as side:
                turn = take(side, plan, tell)
            turns[name].append(turn)
            tell(f"{name}: {turn.accepted_per_s:,}/s accepted, {turn.drained_per_s:,}/s drained")
    summaries = {name: _summary(taken) for name, taken in turns.items()}

    def ratio(value: Callable[[Summary], Spread]) -> float | None:
        if OWN not in summaries or BULLMQ not in summaries:
            return None
        return round(value(summaries[OWN]).median / max(0.01, value(summaries[BULLMQ]).median), 2)

    return Result(
        **head,
        plan=plan,
        rounds=rounds,
        sides=summaries,
        turns=turns,
        drained_ratio=ratio(lambda of: of.drained_per_s),
        drained_to_empty_ratio=ratio(lambda of: of.drained_to_empty_per_s),
        accepted_ratio=ratio(lambda of: of.accepted_per_s),
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
