"""So many users at once, who think between two completions, on as many connections."""

from __future__ import annotations

import msgspec

from benchmarks.load import generator
from benchmarks.load.generation import Generation
from benchmarks.load.scene import Scene, plant
from benchmarks.measure.checks import audit, require_answered
from benchmarks.measure.cpu import CpuClock
from benchmarks.measure.deployment import Log, whole
from benchmarks.measure.figures import Percentiles, percentiles_ms
from benchmarks.measure.machine import Measured, begin
from benchmarks.measure.watch import OffsetWatch
from benchmarks.plans import Users
from ops.locate import Deployment

SKIPPED_RATIO = 0.2  # of a crowd's time, in which users arrive and everything warms up


class Crowd(msgspec.Struct, frozen=True):
    """Figures of the time after the first fifth. `ack_ms` counts from when a completion was first sent."""

    users: int
    accepted: int
    accepted_per_s: float
    drained_per_s: float
    ack_ms: Percentiles
    retries: int
    cpu_s: dict[str, float]
    cores_used: float


class Result(Measured, frozen=True, kw_only=True):
    think_s: float
    seconds: float
    matching_percent: int
    lost: int
    twice: int
    crowds: list[Crowd]


def measure(plan: Users, log: Log) -> Result:
    """One crowd after the other. Raises CheckFailed, CannotStart, LoadBroken."""
    head = begin("shape-users")
    accepted: list[str] = []
    with whole(log, plan.port_base) as found:
        crowds = [_crowd(found, plan, users, accepted, log) for users in plan.users]
    return Result(
        **head,
        think_s=plan.think_s,
        seconds=plan.seconds,
        matching_percent=plan.matching_percent,
        lost=0,
        twice=0,
        crowds=crowds,
    )


def _crowd(found: Deployment, plan: Users, users: int, accepted: list[str], log: Log) -> Crowd:
    """Adds its ids to those of the crowds before: the ledger holds them all."""
    log(f"{users:,} users for {plan.seconds:g} s, thinking {plan.think_s:g} s on average")
    scene = Scene.fresh(found, users / plan.think_s, plan.matching_percent)
    plant(found, scene)
    watch = OffsetWatch(found)
    with Generation(found, scene, generator.Users(users, plan.think_s, plan.seconds)) as generation:
        began_at = generation.begun_at + SKIPPED_RATIO * plan.seconds
        ended_at = generation.begun_at + plan.seconds
        used = CpuClock(found, {"users": generation.pid}).during(began_at, ended_at)
        requests = generation.end()
    require_answered(requests)
    accepted += requests.accepted()
    audit(found, accepted, log)
    measured_s = ended_at - began_at
    return Crowd(
        users=users,
        accepted=len(requests.due_s),
        accepted_per_s=round(requests.accepted_in(began_at, ended_at) / measured_s, 1),
        drained_per_s=round(watch.stop().drained(began_at, ended_at) / measured_s, 1),
        ack_ms=percentiles_ms(requests.latencies_s(began_at, ended_at)),
        retries=requests.result.retries,
        cpu_s=used,
        cores_used=round(sum(used.values()) / measured_s, 2),
    )
