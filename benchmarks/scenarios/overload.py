"""Offers that exceed what the machine drains: what is accepted in time, what is drained, how it recovers.

Each rate runs on the same deployment, after the one before has been drained. A rejection is an answer: it is
not sent again, so that the offered rate stays what it is.
"""

from __future__ import annotations

import time

import msgspec

from benchmarks.load.generation import Generation
from benchmarks.load.generator import Constant
from benchmarks.load.scene import Scene, plant
from benchmarks.measure.checks import audit, require_answered
from benchmarks.measure.cpu import CpuClock, sleep_until
from benchmarks.measure.deployment import Log, whole
from benchmarks.measure.figures import Percentiles, percentiles_ms
from benchmarks.measure.machine import Measured, begin
from benchmarks.measure.watch import BacklogWatch, OffsetWatch
from benchmarks.plans import Overload
from ops.locate import Deployment

DRAIN_TIMEOUT_S = 900.0
CONNECTIONS_MAX = 4096  # so that requests wait at the edge, whose limit is measured, and not in the generator


class Offer(msgspec.Struct, frozen=True):
    """`ack_ms` is of the accepted ones; `drained`: row and verdict visible while the load lasted.

    `recovered_s`: from the load's end until nothing moved any more.
    """

    offered_per_s: float
    accepted_per_s: float
    rejected_per_s: float
    drained_per_s: float
    ack_ms: Percentiles
    backlog_max: int
    recovered_s: float
    cpu_s: dict[str, float]
    cores_used: float


class Result(Measured, frozen=True, kw_only=True):
    plan: Overload
    lost: int
    twice: int
    offers: list[Offer]


def measure(plan: Overload, log: Log) -> Result:
    """Raises CheckFailed, CannotStart, LoadBroken."""
    head = begin("shape-overload")
    accepted: list[str] = []
    with whole(log, plan.port_base) as found:
        offers = [_offer(found, plan, rate_per_s, accepted, log) for rate_per_s in plan.rates_per_s]
    return Result(**head, plan=plan, lost=0, twice=0, offers=offers)


def _offer(found: Deployment, plan: Overload, rate_per_s: float, accepted: list[str], log: Log) -> Offer:
    """Adds its ids to those of the offers before: the ledger holds them all."""
    warm_up_s = 0.0 if accepted else plan.warm_up_s
    log(f"{rate_per_s:g}/s for {warm_up_s + plan.seconds:g} s")
    scene = Scene.fresh(found, rate_per_s, plan.matching_percent)
    plant(found, scene)
    watch = OffsetWatch(found)
    pace = Constant.of(rate_per_s, warm_up_s + plan.seconds, CONNECTIONS_MAX)
    with Generation(found, scene, pace, again=False) as generation:
        began_at = generation.begun_at + warm_up_s
        ended_at = began_at + plan.seconds
        sleep_until(began_at)
        backlog = BacklogWatch(found)
        used = CpuClock(found, {"generator": generation.pid}).during(began_at, ended_at)
        looks = backlog.stop()
        requests = generation.end()
    require_answered(requests)
    accepted += requests.accepted()
    audit(found, accepted, log, DRAIN_TIMEOUT_S)
    recovered_s = time.time() - ended_at
    seconds = plan.seconds
    due = requests.due_in(began_at, ended_at)
    rejected = sum(requests.answered_s[number] < 0 for number in due)
    return Offer(
        offered_per_s=round(len(due) / seconds, 1),
        accepted_per_s=round(requests.accepted_in(began_at, ended_at) / seconds, 1),
        rejected_per_s=round(rejected / seconds, 1),
        drained_per_s=round(watch.stop().drained(began_at, ended_at) / seconds, 1),
        ack_ms=percentiles_ms(requests.latencies_s(began_at, ended_at)),
        backlog_max=max((look.total for look in looks), default=0),
        recovered_s=round(recovered_s, 1),
        cpu_s=used,
        cores_used=round(sum(used.values()) / seconds, 2),
    )
