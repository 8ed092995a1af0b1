"""A spike: five times the load for half a minute, on top of a load that goes on before and after.

Two generators, each open loop: one offers the base rate throughout, the other what the spike adds.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from benchmarks.backlog import BacklogWatch, Look
from benchmarks.cpu import CpuClock, between
from benchmarks.e2e import ACTIVATION_MARGIN_S, ARCHIVE, DRAIN_TIMEOUT_S, VERDICTS, WARM_UP_S
from benchmarks.load import Generation, Requests, sleep_until
from benchmarks.machine import Machine, commit, machine, now
from benchmarks.parts import Wrong
from benchmarks.percentiles import Percentiles, percentiles_ms
from benchmarks.scene import Scene, plant
from benchmarks.shapes import close_books
from benchmarks.subject import Tell
from benchmarks.visibility import PositionWatch
from ops.embedded.home import Home
from ops.locate import Deployment

BEFORE_S = 15.0  # of the base rate, measured
RECOVERED_RATIO = 1.5  # of the largest backlog before the spike
RECOVERED_RECORDS_MIN = 1_000  # a backlog this small is none


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
    def total_s(self) -> float:
        return self.spike_begin_s + self.spike_s + self.after_s

    @property
    def added_per_s(self) -> float:
        return self.rate_per_s * (self.times - 1)


class Part(msgspec.Struct, frozen=True):
    """Of what was due in it. `ack_ms` counts from then."""

    name: str
    offered_per_s: float
    accepted_per_s: float
    drained_per_s: float
    ack_ms: Percentiles
    backlog_max: int


class Result(msgspec.Struct, frozen=True):
    """`recovered_s`: from the spike's end until the backlog was as before; None: not within `after_s`.

    `retries`: requests that were answered 429 or 503 and sent again, as clients do.
    """

    kind: str
    at: str
    commit: str
    machine: Machine
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
    """On a deployment that runs. Raises Wrong, LoadBroken."""
    described, began = machine(), now()
    scene = Scene.fresh(found, plan.rate_per_s * plan.times, plan.matching_percent)
    sleep_until(plant(found, scene) / 1000 + ACTIVATION_MARGIN_S)
    positions = PositionWatch(found.settings.database_url, [ARCHIVE, VERDICTS])
    positions.start()
    backlog = BacklogWatch(found)
    base_requests = int(plan.rate_per_s * plan.total_s)
    base = Generation(found, scene, plan.rate_per_s, base_requests)
    spike: Generation | None = None
    try:
        begun_at = base.begun_at
        tell(f"{plan.rate_per_s:g}/s; the spike comes after {plan.spike_begin_s:g} s")
        cpu = CpuClock(Home(found.settings.home), {"generator": base.pid})
        sleep_until(begun_at + plan.warm_up_s)
        backlog.start()
        before = cpu.read()
        sleep_until(begun_at + plan.spike_begin_s)
        tell(f"{plan.times:g} times as much for {plan.spike_s:g} s")
        spike = Generation(
            found, scene, plan.added_per_s, int(plan.added_per_s * plan.spike_s), base_requests + 1
        )
        spike_end_at = spike.begun_at + plan.spike_s
        sleep_until(spike_end_at)
        tell(f"the spike is over; {plan.after_s:g} s to recover")
        sleep_until(begun_at + plan.total_s)
        used, looks = between(before, cpu.read()), backlog.stop()
        requests = [base.end(), spike.end()]
    finally:
        base.abandon()
        if spike is not None:
            spike.abandon()
    _require_all(requests)
    accepted = [completion_id for each in requests for _, completion_id in each.ids()]
    books = close_books(found, accepted, DRAIN_TIMEOUT_S, tell)
    seen = positions.stop()
    spans = [
        ("before", begun_at + plan.warm_up_s, spike.begun_at),
        ("spike", spike.begun_at, spike_end_at),
        ("after", spike_end_at, begun_at + plan.total_s),
    ]

    def part(name: str, begin: float, end: float) -> Part:
        drained = min(seen.passed_by(sink, end) - seen.passed_by(sink, begin) for sink in (ARCHIVE, VERDICTS))
        latencies_s = [latency for each in requests for latency in due_between(each, begin, end)]
        answered = sum(
            begin <= each.told.begun_at + at < end for each in requests for at in each.answered_s if at >= 0
        )
        return Part(
            name=name,
            offered_per_s=round(len(latencies_s) / (end - begin), 1),
            accepted_per_s=round(answered / (end - begin), 1),
            drained_per_s=round(drained / (end - begin), 1),
            ack_ms=percentiles_ms(latencies_s),
            backlog_max=max((look.total for look in looks if begin <= look.at < end), default=0),
        )

    return Result(
        kind="shape-spike",
        at=began,
        commit=commit(),
        machine=described,
        plan=plan,
        accepted=books.accepted,
        messages=books.messages,
        lost=0,
        twice=0,
        retries=sum(each.told.retries for each in requests),
        parts=[part(*span) for span in spans],
        recovered_s=recovered_s(looks, spike.begun_at, spike_end_at),
        cpu_s=used,
    )


def due_between(requests: Requests, begin: float, end: float) -> list[float]:
    """Seconds from due to accepted, of each request that was due then, without the one before all."""
    told = requests.told
    count = len(requests.answered_s) - 1
    first = min(count, max(0, round((begin - told.begun_at) * told.rate_per_s)))
    last = min(count, max(0, round((end - told.begun_at) * told.rate_per_s)))
    return requests.latencies_s(first, last)


def recovered_s(looks: Sequence[Look], spike_begin: float, spike_end: float) -> float | None:
    """As exact as the looks are frequent; pure. From the last look at which it was not yet so."""
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


def _require_all(requests: Sequence[Requests]) -> None:
    unanswered = sum(each.unanswered for each in requests)
    refused = sum(each.told.refused for each in requests)
    if unanswered or refused:
        raise Wrong(f"{unanswered:,} requests were not answered, {refused:,} refused")


def text(r: Result) -> str:
    lines = [
        f"{r.plan.rate_per_s:g}/s, and {r.plan.times:g} times that for {r.plan.spike_s:g} s: "
        f"{r.accepted:,} accepted, lost {r.lost}, twice {r.twice}, retries {r.retries:,}",
    ]
    for part in r.parts:
        lines.append(
            f"  {part.name:7} offered {part.offered_per_s:,}/s accepted {part.accepted_per_s:,}/s "
            f"drained {part.drained_per_s:,}/s; 202 p50 {part.ack_ms.p50} ms p99 {part.ack_ms.p99} ms; "
            f"backlog at most {part.backlog_max:,}"
        )
    after = "not within the run" if r.recovered_s is None else f"{r.recovered_s:g} s after the spike"
    return "\n".join([*lines, f"the backlog was as before {after}"])
