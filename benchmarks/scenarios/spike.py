"""A spike: five times the load for half a minute, on top of a load before and after it.

Two generators, each open loop: one offers the base rate throughout, the other the part that the spike adds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from benchmarks.load.generation import Generation
from benchmarks.load.generator import Constant
from benchmarks.load.scene import Scene, plant
from benchmarks.measure.checks import audit, require_answered
from benchmarks.measure.cpu import CpuClock, between, sleep_until
from benchmarks.measure.deployment import Log, whole
from benchmarks.measure.figures import Percentiles, percentiles_ms
from benchmarks.measure.machine import Measured, begin
from benchmarks.measure.watch import BacklogWatch, OffsetWatch, Waiting
from benchmarks.plans import Spike
from ops.locate import Deployment

BEFORE_S = 15.0  # of the base rate, measured
RECOVERED_RATIO = 1.5  # of the largest backlog before the spike
RECOVERED_RECORDS_MIN = 1_000  # a smaller backlog counts as none


class Part(msgspec.Struct, frozen=True):
    """Of the requests that were due in it. `ack_ms` counts from then."""

    name: str
    offered_per_s: float
    accepted_per_s: float
    drained_per_s: float
    ack_ms: Percentiles
    backlog_max: int


class Result(Measured, frozen=True, kw_only=True):
    """`recovered_s`: from the spike's end until the backlog was as before; None: not within `after_s`.

    `retries`: requests that were answered 429 or 503 and sent again, as clients do.
    """

    plan: Spike
    accepted: int
    messages: int
    lost: int
    twice: int
    retries: int
    parts: list[Part]
    recovered_s: float | None
    cpu_s: dict[str, float]


def measure(plan: Spike, log: Log) -> Result:
    """Raises CheckFailed, CannotStart, LoadBroken."""
    head = begin("shape-spike")
    with whole(log, plan.port_base) as found:
        return _measure(head, found, plan, log)


def paces(plan: Spike) -> tuple[Constant, Constant]:
    """The base rate throughout, and the part that the spike adds."""
    seconds = plan.warm_up_s + BEFORE_S + plan.spike_s + plan.after_s
    added_per_s = plan.rate_per_s * (plan.times - 1)
    return Constant.of(plan.rate_per_s, seconds), Constant.of(added_per_s, plan.spike_s)


def _measure(head: dict[str, Any], found: Deployment, plan: Spike, log: Log) -> Result:
    scene = Scene.fresh(found, plan.rate_per_s * plan.times, plan.matching_percent)
    plant(found, scene)
    watch = OffsetWatch(found)
    throughout, added = paces(plan)
    with Generation(found, scene, throughout) as base:
        began_at, ended_at = base.begun_at + plan.warm_up_s, base.begun_at + throughout.seconds
        log(f"{plan.rate_per_s:g}/s; the spike comes after {plan.warm_up_s + BEFORE_S:g} s")
        cpu = CpuClock(found, {"generator": base.pid})
        sleep_until(began_at)
        backlog, before = BacklogWatch(found), cpu.read()
        sleep_until(began_at + BEFORE_S)
        log(f"{plan.times:g} times as much for {plan.spike_s:g} s")
        with Generation(found, scene, added, throughout.requests + 1) as spike:
            spike_end_at = spike.begun_at + plan.spike_s
            sleep_until(spike_end_at)
            log(f"the spike is over; {plan.after_s:g} s to recover")
            sleep_until(ended_at)
            used, looks = between(before, cpu.read()), backlog.stop()
            loads = [base.end(), spike.end()]
    require_answered(*loads)
    report = audit(found, (one for load in loads for one in load.accepted()), log)
    seen = watch.stop()

    def part(name: str, began: float, ended: float) -> Part:
        seconds = ended - began
        latencies_s = [latency for load in loads for latency in load.latencies_s(began, ended)]
        return Part(
            name=name,
            offered_per_s=round(len(latencies_s) / seconds, 1),
            accepted_per_s=round(sum(load.accepted_in(began, ended) for load in loads) / seconds, 1),
            drained_per_s=round(seen.drained(began, ended) / seconds, 1),
            ack_ms=percentiles_ms(latencies_s),
            backlog_max=max((look.total for look in looks if began <= look.at < ended), default=0),
        )

    return Result(
        **head,
        plan=plan,
        accepted=report.accepted,
        messages=report.sent,
        lost=report.missing,
        twice=report.twice,
        retries=sum(load.result.retries for load in loads),
        parts=[
            part("before", began_at, spike.begun_at),
            part("spike", spike.begun_at, spike_end_at),
            part("after", spike_end_at, ended_at),
        ],
        recovered_s=recovered_s(looks, spike.begun_at, spike_end_at),
        cpu_s=used,
    )


def recovered_s(looks: Sequence[Waiting], spike_begin: float, spike_end: float) -> float | None:
    """As exact as the looks are frequent; pure. From the last look at which the backlog was still larger."""
    usual = max((look.total for look in looks if look.at < spike_begin), default=0)
    enough = max(RECOVERED_RATIO * usual, RECOVERED_RECORDS_MIN)
    since: float | None = None
    for look in looks:
        if look.at < spike_end:
            continue
        if look.total > enough:
            since = None
        elif since is None:
            since = look.at
    return None if since is None else round(since - spike_end, 1)
