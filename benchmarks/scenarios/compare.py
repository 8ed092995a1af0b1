"""CPU per completion of this checkout (A) beside another checkout (B), interleaved in one run.

Each side runs `quizstream bench e2e` of its own checkout and its own `.venv`, so that each commit's own code
is measured by its own benchmark. A begins the odd rounds, B the even ones. A round counts only if both sides
lost nothing and sent nothing twice.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import msgspec

from benchmarks.measure.checks import CheckFailed
from benchmarks.measure.deployment import PLACES, Log
from benchmarks.measure.figures import Percentiles, Spread
from benchmarks.measure.machine import CHECKOUT, Measured, begin, commit
from benchmarks.plans import Compare
from ops.exits import CANNOT
from pipeline.errors import CannotStart

TIMEOUT_MARGIN_S = 900.0  # start of the servers, drain, reconciliation


class Side(msgspec.Struct, frozen=True):
    """Fields of `bench e2e --json` that the comparison reads; commit 121a306 has them too."""

    commit: str
    drained_per_s: float
    offered_per_s: float
    ack_ms: Percentiles
    lost: int
    twice: int
    cpu_s: dict[str, float]
    cpu_us_per_completion: float
    cores_used: float


class Result(Measured, frozen=True, kw_only=True):
    """`ratios`: CPU per completion of A over B, one a round. `rounds_of`: each side's rounds, in order."""

    plan: Compare
    commits: dict[str, str]
    cpu_us_per_completion: dict[str, Spread]
    drained_per_s: dict[str, Spread]
    ratios: list[float]
    ratio: Spread
    rounds_of: dict[str, list[Side]]


def measure(plan: Compare, log: Log) -> Result:
    """Raises CheckFailed, CannotStart."""
    head = begin("compare")
    checkouts = {"A": CHECKOUT, "B": Path(plan.other).resolve()}
    taken: dict[str, list[Side]] = {name: [] for name in checkouts}
    for turn in range(plan.rounds):
        for name in checkouts if turn % 2 == 0 else reversed(checkouts):
            log(f"round {turn + 1} of {plan.rounds}: {name}, {checkouts[name]}")
            side = _run(checkouts[name], plan)
            taken[name].append(side)
            log(f"{name}: {side.cpu_us_per_completion:,} us of CPU a completion, {side.drained_per_s:,}/s")
    pairs = zip(taken["A"], taken["B"], strict=True)
    ratios = [round(a.cpu_us_per_completion / b.cpu_us_per_completion, 4) for a, b in pairs]

    def of(field: str) -> dict[str, Spread]:
        return {name: Spread.of([getattr(side, field) for side in sides]) for name, sides in taken.items()}

    return Result(
        **head,
        plan=plan,
        commits={name: commit(checkout) for name, checkout in checkouts.items()},
        cpu_us_per_completion=of("cpu_us_per_completion"),
        drained_per_s=of("drained_per_s"),
        ratios=ratios,
        ratio=Spread.of(ratios),
        rounds_of=taken,
    )


def _run(checkout: Path, plan: Compare) -> Side:
    program = checkout / ".venv" / "bin" / "quizstream"
    if not program.is_file():
        raise CannotStart(f"{program} does not exist: run `make setup-test` in {checkout}.")
    env = {name: value for name, value in os.environ.items() if name not in PLACES}
    command = [str(program), "bench", "e2e", f"--rate={plan.rate_per_s}", f"--seconds={plan.seconds}"]
    command += [f"--warm-up={plan.warm_up_s}", f"--port-base={plan.port_base}", "--json"]
    timeout_s = plan.warm_up_s + plan.seconds + TIMEOUT_MARGIN_S
    try:
        done = subprocess.run(
            command, cwd=checkout, env=env, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise CannotStart(f"`bench e2e` of {checkout} did not end in {timeout_s:.0f} s.") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        error = CannotStart if done.returncode == CANNOT else CheckFailed
        raise error(f"`bench e2e` of {checkout} ended with {done.returncode}: {last}")
    side = msgspec.json.decode(done.stdout, type=Side)
    if side.lost or side.twice:
        raise CheckFailed(f"{checkout}: lost {side.lost}, twice {side.twice}")
    return side
