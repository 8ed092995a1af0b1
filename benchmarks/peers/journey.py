"""The whole journey, this project's and the design that it replaces, interleaved in one run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from benchmarks.measure.deployment import Log
from benchmarks.measure.figures import Spread, spreads
from benchmarks.measure.machine import Measured, begin
from benchmarks.peers import bullmq_side, own_side
from benchmarks.peers.turn import Side, Turn, take
from benchmarks.plans import Peers

OWN, BULLMQ = "quizstream", "bullmq"
SIDES: dict[str, Callable[[Peers, Log], AbstractContextManager[Side]]] = {
    OWN: own_side.running,
    BULLMQ: bullmq_side.running,
}
FIGURES = (
    "accepted_per_s",
    "drained_per_s",
    "drained_to_empty_per_s",
    "emptied_s",
    "cpu_us_per_completion",
)


class Result(Measured, frozen=True, kw_only=True):
    """`drained_ratio`: this project's median over the other's; None where only one side ran."""

    plan: Peers
    sides: dict[str, dict[str, Spread]]
    turns: dict[str, list[Turn]]
    drained_ratio: float | None
    drained_to_empty_ratio: float | None
    accepted_ratio: float | None


def measure(plan: Peers, log: Log) -> Result:
    """Raises CheckFailed, CannotStart, Missing, LoadBroken."""
    head = begin("peers-journey")
    turns: dict[str, list[Turn]] = {name: [] for name in plan.sides}
    for turn_number in range(plan.rounds):
        # Each side goes first in every other round, so that none always gets the warmer machine.
        for name in turns if turn_number % 2 == 0 else reversed(turns):
            log(f"round {turn_number + 1} of {plan.rounds}: {name}")
            with SIDES[name](plan, log) as side:
                turn = take(side, plan, log)
            turns[name].append(turn)
            log(f"{name}: {turn.accepted_per_s:,}/s accepted, {turn.drained_per_s:,}/s drained")
    sides = {name: spreads([_figures(turn) for turn in taken]) for name, taken in turns.items()}

    def ratio(figure: str) -> float | None:
        if OWN not in sides or BULLMQ not in sides:
            return None
        return round(sides[OWN][figure].median / max(0.01, sides[BULLMQ][figure].median), 2)

    return Result(
        **head,
        plan=plan,
        sides=sides,
        turns=turns,
        drained_ratio=ratio("drained_per_s"),
        drained_to_empty_ratio=ratio("drained_to_empty_per_s"),
        accepted_ratio=ratio("accepted_per_s"),
    )


def _figures(turn: Turn) -> dict[str, float]:
    ack = {"ack_p50_ms": turn.ack_ms.p50 or 0.0, "ack_p99_ms": turn.ack_ms.p99 or 0.0}
    return {name: getattr(turn, name) for name in FIGURES} | ack
