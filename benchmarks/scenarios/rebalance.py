"""Workers join and leave in an orderly way under load: how much of the traffic is processed a second time.

A record that is processed again gets the same verdict again: a repeat is a second verdict of one completion
in the topic of outcomes, and belongs to the change of the group before it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from benchmarks.load.generation import Generation
from benchmarks.load.generator import Constant
from benchmarks.load.scene import Scene, plant
from benchmarks.measure.checks import CheckFailed, audit, require_answered
from benchmarks.measure.cpu import sleep_until
from benchmarks.measure.deployment import Log, end, whole
from benchmarks.measure.figures import Percentiles, percentiles_ms
from benchmarks.measure.machine import Measured, begin
from benchmarks.measure.topics import events_of
from benchmarks.plans import Rebalance
from ops.locate import Deployment, as_env
from pipeline.worker import WORKER_ID

TRAFFIC_S_MAX = 5.0  # reprocessed by one orderly change
STOP_TIMEOUT_S = 12.0
SECOND_WORKER = "1"


class Change(msgspec.Struct, frozen=True):
    """`repeated_s`: seconds of traffic at the offered rate that the repeats equal."""

    what: str
    at_s: float
    repeats: int
    repeated_s: float


class Result(Measured, frozen=True, kw_only=True):
    """`at_s` of the changes counts from the first request. `stray`: repeats before the first change.

    `ok`: no change repeated more than 5 s of traffic.
    """

    plan: Rebalance
    accepted: int
    messages: int
    lost: int
    twice: int
    ack_ms: Percentiles
    stray: int
    changes: list[Change]
    repeated_s_max: float
    ok: bool


def measure(plan: Rebalance, log: Log) -> Result:
    """Raises CheckFailed, CannotStart, LoadBroken."""
    head = begin("shape-rebalance")
    with whole(log, plan.port_base) as found:
        return _measure(head, found, plan, log)


def _measure(head: dict[str, Any], found: Deployment, plan: Rebalance, log: Log) -> Result:
    scene = Scene.fresh(found, plan.rate_per_s, plan.matching_percent)
    plant(found, scene)
    changed: list[tuple[str, float]] = []
    second: subprocess.Popen[bytes] | None = None
    seconds = plan.warm_up_s + 2 * plan.turns * plan.apart_s
    with Generation(found, scene, Constant.of(plan.rate_per_s, seconds)) as generation:
        began_at = generation.begun_at + plan.warm_up_s
        try:
            for turn in range(2 * plan.turns):
                sleep_until(began_at + turn * plan.apart_s)
                what = "leaves" if second else "joins"
                log(f"a second worker {what}")
                changed.append((what, time.time()))
                if second is None:
                    second = _started(found)
                else:
                    _stop(second)
                    second = None
            requests = generation.end()
        finally:
            if second is not None:
                end(second, STOP_TIMEOUT_S)
    require_answered(requests)
    report = audit(found, requests.accepted(), log)
    stray, changes = attribute(_repeated_at(found), changed, requests.result.begun_at, plan.rate_per_s)
    most = max(change.repeated_s for change in changes)
    return Result(
        **head,
        plan=plan,
        accepted=report.accepted,
        messages=report.sent,
        lost=report.missing,
        twice=report.twice,
        ack_ms=percentiles_ms(requests.latencies_s(began_at, time.time())),
        stray=stray,
        changes=changes,
        repeated_s_max=most,
        ok=most <= TRAFFIC_S_MAX,
    )


def attribute(
    repeated_at: Iterable[float], changed: Sequence[tuple[str, float]], begun_at: float, rate_per_s: float
) -> tuple[int, list[Change]]:
    """Gives each repeat to the last change before it; returns the number before all changes apart. Pure.

    Times are seconds since the epoch.
    """
    times = [at for _, at in changed]
    counts = [0] * (len(changed) + 1)
    for at in repeated_at:
        counts[bisect_right(times, at)] += 1
    return counts[0], [
        Change(what, round(at - begun_at, 1), count, round(count / rate_per_s, 2))
        for (what, at), count in zip(changed, counts[1:], strict=True)
    ]


def _repeated_at(found: Deployment) -> list[float]:
    """When each verdict was written whose completion had one already."""
    seen: set[str] = set()
    repeated: list[float] = []
    for record, outcome in events_of(found, "outcomes"):
        if outcome.completion_id in seen:
            repeated.append(record.timestamp_ms / 1000)
        seen.add(outcome.completion_id)
    return repeated


def _started(found: Deployment) -> subprocess.Popen[bytes]:
    log = found.settings.home / "logs" / "worker-1.log"
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "ops.processes.table", "worker"],
            env={**os.environ, **as_env(found.settings), WORKER_ID: SECOND_WORKER},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )


def _stop(worker: subprocess.Popen[bytes]) -> None:
    """Raises CheckFailed where it does not end in order."""
    if not end(worker, STOP_TIMEOUT_S) or worker.returncode:
        raise CheckFailed(f"a worker did not end in order within {STOP_TIMEOUT_S:g} s: {worker.returncode}")
