"""A spike: five times the load for half a minute, on top of a load before and after it.

Two generators, each open loop: one offers the base rate throughout, the other the part that the spike adds.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from benchmarks.load.generation import Generation
from benchmarks.load.generator import Constant
from benchmarks.load.plan import WARM_UP_S
from benchmarks.load.scene import Scene, plant
from benchmarks.measure.checks import audit, require_answered
from benchmarks.measure.cpu import CpuClock, between, sleep_until
from benchmarks.measure.deployment import Tell
from benchmarks.measure.figures import Percentiles, percentiles_ms
from benchmarks.measure.machine import Measured, begin
from benchmarks.measure.watch import BacklogWatch, OffsetWatch, Waiting
from ops.locate import Deployment

BEFORE_S = 15.0  # of the base rate, measured
RECOVERED_RATIO = 1.5  # of the largest backlog before the spike
RECOVERED_RECORDS_MIN = 1_000  # a smaller backlog counts as none


class Plan(msgspec.Struct, frozen=True):
    """`times`: the spike's rate over the base rate."""

    rate_per_s: float
    times: float = 5.0
    spike_s: float = 30.0
    after_s: float = 60.0
    matching_percent: int = 10
    warm_up_s: float = WARM_UP_S

    @property
    def spike_begin_s(self) -> float:
        return self.warm_up_s + BEFORE_S

    @property
    def base(self) -> Constant:
        seconds = self.spike_begin_s + self.spike_s + self.after_s
        return Constant(self.rate_per_s, int(self.rate_per_s * seconds))

    @property
    def added(self) -> Constant:
        per_s = self.rate_per_s * (self.times - 1)
        return Constant(per_s, int(per_s * self.spike_s))


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

    plan: Plan
    accepted: int
    messages: int
    lost: int
    twice: int
    retries: int
    parts: list[Part]
    recovered_s: float | None
    cpu_s: dict[str, float]


def measure(found: Deployment, plan: Plan, tell: Tell) -> Result:
    """On a deployment that runs. Raises CheckFailed, LoadBroken."""
    head = begin("shape-spike")
    scene = Scene.fresh(found, plan.rate_per_s * plan.times, plan.matching_percent)
    plant(found, scene)
    watch = OffsetWatch(found)
    with Generation(found, scene, plan.base) as base:
        tell(f"{plan.rate_per_s:g}/s; the spike comes after {plan.spike_begin_s:g} s")
        cpu = CpuClock(found, {"generator": base.pid})
        sleep_until(base.begun_at + plan.warm_up_s)
        backlog, before = BacklogWatch(found), cpu.read()
        sleep_until(base.begun_at + plan.spike_begin_s)
        tell(f"{plan.times:g} times as much for {plan.spike_s:g} s")
        with Generation(found, scene, plan.added, plan.base.requests + 1) as spike:
            spike_end_at = spike.begun_at + plan.spike_s
            sleep_until(spike_end_at)
            tell(f"the spike is over; {plan.after_s:g} s to recover")
            sleep_until(base.begun_at + plan.base.seconds)
            used, looks = between(before, cpu.read()), backlog.stop()
            loads = [base.end(), spike.end()]
    require_answered(*loads)
    report = audit(found, (one for load in loads for one in load.accepted()), tell)
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
        retries=sum(load.told.retries for load in loads),
        parts=[
            part("before", base.begun_at + plan.warm_up_s, spike.begun_at),
            part("spike", spike.begun_at, spike_end_at),
            part("after", spike_end_at, base.begun_at + plan.base.seconds),
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
