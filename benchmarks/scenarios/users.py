"""So many users at once, who think between two completions, on as many connections."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from benchmarks.load import generator
from benchmarks.load.generation import Generation
from benchmarks.load.scene import Scene, plant
from benchmarks.measure.checks import audit, require_answered
from benchmarks.measure.cpu import CpuClock
from benchmarks.measure.deployment import Tell
from benchmarks.measure.figures import Percentiles, percentiles_ms
from benchmarks.measure.machine import Measured, begin
from benchmarks.measure.watch import OffsetWatch
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


def measure(
    found: Deployment,
    counts: Sequence[int],
    think_s: float,
    seconds: float,
    matching_percent: int,
    tell: Tell,
) -> Result:
    """One crowd after the other, on a deployment that runs. Raises CheckFailed, LoadBroken."""
    head = begin("shape-users")
    accepted: list[str] = []
    crowds = []
    for users in counts:
        tell(f"{users:,} users for {seconds:g} s, thinking {think_s:g} s on average")
        scene = Scene.fresh(found, users / think_s, matching_percent)
        plant(found, scene)
        watch = OffsetWatch(found)
        with Generation(found, scene, generator.Users(users, think_s, seconds)) as generation:
            began_at = generation.begun_at + SKIPPED_RATIO * seconds
            ended_at = generation.begun_at + seconds
            used = CpuClock(found, {"users": generation.pid}).during(began_at, ended_at)
            requests = generation.end()
        require_answered(requests)
        crowd_ids = list(requests.accepted())
        accepted += crowd_ids
        audit(found, accepted, tell)  # of all crowds so far: the ledger holds them all
        measured_s = ended_at - began_at
        crowds.append(
            Crowd(
                users=users,
                accepted=len(crowd_ids),
                accepted_per_s=round(requests.accepted_in(began_at, ended_at) / measured_s, 1),
                drained_per_s=round(watch.stop().drained(began_at, ended_at) / measured_s, 1),
                ack_ms=percentiles_ms(requests.latencies_s(began_at, ended_at)),
                retries=requests.told.retries,
                cpu_s=used,
                cores_used=round(sum(used.values()) / measured_s, 2),
            )
        )
    return Result(
        **head,
        think_s=think_s,
        seconds=seconds,
        matching_percent=matching_percent,
        lost=0,
        twice=0,
        crowds=crowds,
    )
