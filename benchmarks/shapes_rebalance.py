"""Workers come and go in an orderly way under load: how much of the traffic is processed a second time.

A record that is judged again says its verdict again, to the letter: a repeat is a second verdict of one
completion in the topic of outcomes, and belongs to the change of the group before it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from bisect import bisect_right
from collections.abc import Iterable, Sequence

import msgspec

from benchmarks.e2e import ACTIVATION_MARGIN_S, DRAIN_TIMEOUT_S, WARM_UP_S
from benchmarks.load import Generation, sleep_until
from benchmarks.machine import Machine, commit, machine, now
from benchmarks.parts import Wrong
from benchmarks.percentiles import Percentiles, percentiles_ms
from benchmarks.scene import Scene, plant
from benchmarks.shapes import close_books
from benchmarks.subject import Tell
from ops.locate import Deployment, as_env
from pipeline.runtime.topic_reader import TopicScan
from pipeline.worker import WORKER_ID
from schemas.codec import codec

TRAFFIC_S_MAX = 5.0  # reprocessed by one orderly change
STOP_TIMEOUT_S = 12.0
SECOND_WORKER = "1"


class Plan(msgspec.Struct, frozen=True):
    """A second worker joins and leaves `turns` times, `apart_s` between two changes."""

    rate_per_s: float
    turns: int = 3
    apart_s: float = 20.0
    matching_percent: int = 10
    warm_up_s: float = WARM_UP_S

    @property
    def total_s(self) -> float:
        return self.warm_up_s + 2 * self.turns * self.apart_s


class Change(msgspec.Struct, frozen=True):
    """`repeated_s`: seconds of traffic at the offered rate that the repeats are worth."""

    what: str
    at_s: float
    repeats: int
    repeated_s: float


class Result(msgspec.Struct, frozen=True):
    """`at_s` of the changes counts from the first request. `stray`: repeats before the first change."""

    kind: str
    at: str
    commit: str
    machine: Machine
    plan: Plan
    accepted: int
    messages: int
    lost: int
    twice: int
    ack_ms: Percentiles
    stray: int
    changes: list[Change]
    repeated_s_max: float
    ok: bool


def measure(found: Deployment, plan: Plan, tell: Tell) -> Result:
    """On a deployment that runs. Raises Wrong, LoadBroken."""
    described, began = machine(), now()
    scene = Scene.fresh(found, plan.rate_per_s, plan.matching_percent)
    sleep_until(plant(found, scene) / 1000 + ACTIVATION_MARGIN_S)
    changed: list[tuple[str, float]] = []
    second: subprocess.Popen[bytes] | None = None
    generation = Generation(found, scene, plan.rate_per_s, int(plan.rate_per_s * plan.total_s))
    try:
        for turn in range(2 * plan.turns):
            sleep_until(generation.begun_at + plan.warm_up_s + turn * plan.apart_s)
            what = "leaves" if second else "joins"
            tell(f"a second worker {what}")
            changed.append((what, time.time()))
            if second is None:
                second = _worker(found)
            else:
                _end(second)
                second = None
        requests = generation.end()
    finally:
        generation.abandon()
        if second is not None:
            _end(second)
    if requests.unanswered or requests.told.refused:
        raise Wrong(f"{requests.unanswered:,} requests were not answered, {requests.told.refused:,} refused")
    books = close_books(found, (one for _, one in requests.ids()), DRAIN_TIMEOUT_S, tell)
    stray, changes = attribute(_repeated_at(found), changed, requests.told.begun_at, plan.rate_per_s)
    most = max(change.repeated_s for change in changes)
    return Result(
        kind="shape-rebalance",
        at=began,
        commit=commit(),
        machine=described,
        plan=plan,
        accepted=books.accepted,
        messages=books.messages,
        lost=0,
        twice=0,
        ack_ms=percentiles_ms(
            requests.latencies_s(int(plan.warm_up_s * plan.rate_per_s), int(plan.total_s * plan.rate_per_s))
        ),
        stray=stray,
        changes=changes,
        repeated_s_max=most,
        ok=most <= TRAFFIC_S_MAX,
    )


def attribute(
    repeated_at: Iterable[float], changed: Sequence[tuple[str, float]], begun_at: float, rate_per_s: float
) -> tuple[int, list[Change]]:
    """Gives each repeat to the last change before it; those before all are returned apart. Pure.

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
    """When each verdict was written that its completion had already."""
    decode = codec("outcome").decode
    seen: set[str] = set()
    repeated: list[float] = []
    topic = found.topology.topic("outcomes")
    for record in TopicScan(found.settings.kafka_bootstrap_servers, topic).records():
        completion_id = decode(record.value).completion_id
        if completion_id in seen:
            repeated.append(record.timestamp_ms / 1000)
        seen.add(completion_id)
    return repeated


def _worker(found: Deployment) -> subprocess.Popen[bytes]:
    log = found.settings.home / "logs" / "worker-1.log"
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "ops.processes.table", "worker"],
            env={**os.environ, **as_env(found.settings), WORKER_ID: SECOND_WORKER},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )


def _end(worker: subprocess.Popen[bytes]) -> None:
    """In an orderly way. Raises Wrong where it does not end by itself."""
    worker.send_signal(signal.SIGTERM)
    try:
        code = worker.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()
        raise Wrong(f"a worker did not end within {STOP_TIMEOUT_S:g} s") from None
    if code != 0:
        raise Wrong(f"a worker ended with {code}")


def text(r: Result) -> str:
    lines = [
        f"{r.plan.rate_per_s:g}/s: {r.accepted:,} accepted, lost {r.lost}, twice {r.twice}; "
        f"202 p50 {r.ack_ms.p50} ms, p99 {r.ack_ms.p99} ms; {r.stray:,} repeats before the first change",
        *(
            f"  {change.at_s:6.1f} s  a worker {change.what:6}  {change.repeats:7,} repeats, "
            f"{change.repeated_s:.2f} s of traffic"
            for change in r.changes
        ),
        f"{'met   ' if r.ok else 'MISSED'} at most {TRAFFIC_S_MAX:g} s of traffic again for one change",
    ]
    return "\n".join(lines)
