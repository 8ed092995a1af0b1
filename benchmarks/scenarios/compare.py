"""CPU per completion of this checkout (A) beside another checkout (B), interleaved in one run.

Each side runs `quizstream bench e2e` of its own checkout and its own `.venv`, so that each commit's own code
is measured by its own benchmark. A begins the odd rounds, B the even ones. A round counts only if both sides
lost nothing and sent nothing twice.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import msgspec

from benchmarks.measure.checks import CheckFailed
from benchmarks.measure.deployment import PLACES, Tell
from benchmarks.measure.figures import Percentiles, Spread
from benchmarks.measure.machine import CHECKOUT, Measured, begin, commit
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

    rate_per_s: float
    seconds: float
    warm_up_s: float
    commits: dict[str, str]
    cpu_us_per_completion: dict[str, Spread]
    drained_per_s: dict[str, Spread]
    ratios: list[float]
    ratio: Spread
    rounds_of: dict[str, list[Side]]


def measure(
    other: Path, rate: float, seconds: float, warm_up_s: float, rounds: int, port_base: int, tell: Tell
) -> Result:
    """Raises CheckFailed, CannotStart."""
    head = begin("compare")
    checkouts = {"A": CHECKOUT, "B": other.resolve()}
    plan = (f"--rate={rate}", f"--seconds={seconds}", f"--warm-up={warm_up_s}", f"--port-base={port_base}")
    timeout_s = seconds + warm_up_s + TIMEOUT_MARGIN_S
    taken: dict[str, list[Side]] = {name: [] for name in checkouts}
    for turn in range(rounds):
        for name in checkouts if turn % 2 == 0 else reversed(checkouts):
            tell(f"round {turn + 1} of {rounds}: {name}, {checkouts[name]}")
            side = _run(checkouts[name], plan, timeout_s)
            taken[name].append(side)
            tell(f"{name}: {side.cpu_us_per_completion:,} us of CPU a completion, {side.drained_per_s:,}/s")
    return _result(head, rate, seconds, warm_up_s, {n: commit(c) for n, c in checkouts.items()}, taken)


def _result(
    head: Mapping[str, object],
    rate: float,
    seconds: float,
    warm_up_s: float,
    commits: dict[str, str],
    taken: dict[str, list[Side]],
) -> Result:
    pairs = zip(taken["A"], taken["B"], strict=True)
    ratios = [round(a.cpu_us_per_completion / b.cpu_us_per_completion, 4) for a, b in pairs]
    return Result(
        **head,  # type: ignore[arg-type]
        rate_per_s=rate,
        seconds=seconds,
        warm_up_s=warm_up_s,
        commits=commits,
        cpu_us_per_completion={
            n: Spread.of([s.cpu_us_per_completion for s in of]) for n, of in taken.items()
        },
        drained_per_s={n: Spread.of([s.drained_per_s for s in of]) for n, of in taken.items()},
        ratios=ratios,
        ratio=Spread.of(ratios),
        rounds_of=taken,
    )


def _run(checkout: Path, plan: tuple[str, ...], timeout_s: float) -> Side:
    program = checkout / ".venv" / "bin" / "quizstream"
    if not program.is_file():
        raise CannotStart(f"{program} does not exist: run `make setup-test` in {checkout}.")
    env = {name: value for name, value in os.environ.items() if name not in PLACES}
    command = [str(program), "bench", "e2e", *plan, "--json"]
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
