"""A backlog: worker and sink are stopped while a topic fills, then both are started again.

Completions are written to the topic as the edge writes them, not over HTTP: the rest of the way is measured.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.load.filling import as_received, fill
from benchmarks.load.scene import Scene, plant
from benchmarks.measure.checks import CheckFailed, audit, wait_until
from benchmarks.measure.cpu import CpuClock, between
from benchmarks.measure.deployment import Log, prepared, processes
from benchmarks.measure.machine import Measured, begin
from benchmarks.measure.watch import ARCHIVE, VERDICTS, OffsetWatch
from benchmarks.plans import Backlog
from ops.audit.settle import settle
from ops.locate import Deployment
from ops.processes import table
from schemas.codec import codec

STOPPED = ("worker", "postgres-sink")
NUMBERS_FOR_PER_S = 5_000.0  # sender numbers for the messages of so many completions a second
PUBLISHED_TIMEOUT_S = 60.0
DRAIN_PER_S_MIN = 300.0  # a slower drain is given up
TIMEOUT_S_MIN = 180.0


class Result(Measured, frozen=True, kw_only=True):
    """All seconds are since worker and sink were started again, their start included.

    - `drained_s`: every row and every verdict is visible in PostgreSQL; rates and CPU are of this time.
    - `settled_s`: every message is called, its status recorded, nothing left to publish.
    """

    records: int
    matching_percent: int
    messages: int
    lost: int
    twice: int
    rows_s: float
    verdicts_s: float
    drained_s: float
    settled_s: float
    drained_per_s: float
    cpu_s: dict[str, float]
    cpu_us_per_completion: float


def measure(plan: Backlog, log: Log) -> Result:
    """Raises CheckFailed, CannotStart, LoadBroken."""
    head, records = begin("shape-backlog"), plan.records
    timeout_s = max(TIMEOUT_S_MIN, records / DRAIN_PER_S_MIN)
    with prepared(log, plan.port_base) as found, processes(found, table.NAMES) as supervisor:
        scene = Scene.fresh(found, NUMBERS_FOR_PER_S, plan.matching_percent)
        plant(found, scene)
        if moving := settle(found, PUBLISHED_TIMEOUT_S):
            raise CheckFailed(f"the campaign was not published: {moving}")
        for name in STOPPED:
            supervisor.pause(name)
        log(f"{' and '.join(STOPPED)} are stopped; filling the topic with {records:,} completions")
        accepted: list[str] = []
        fill(found.settings.kafka_bootstrap_servers, _records(found, scene, records, accepted))

        watch = OffsetWatch(found)
        cpu = CpuClock(found)
        before, started_at = cpu.read(), time.time()
        for name in STOPPED:
            supervisor.resume(name)
        wait_until(
            lambda: watch.offsets.drained(0.0, time.time()) >= records,
            timeout_s,
            lambda: f"{watch.offsets.drained(0.0, time.time()):,} of {records:,} were drained",
        )
        used = between(before, cpu.read())
        report = audit(found, accepted, log, timeout_s)
        settled_at = time.time()
        seen = watch.stop()
    if report.accepted != records:
        raise CheckFailed(f"{report.accepted:,} completions were found, expected {records:,}")
    rows_s, verdicts_s = (seen.passed_at(sink, records) - started_at for sink in (ARCHIVE, VERDICTS))
    drained_s = max(rows_s, verdicts_s)
    return Result(
        **head,
        records=records,
        matching_percent=plan.matching_percent,
        messages=report.sent,
        lost=report.missing,
        twice=report.twice,
        rows_s=round(rows_s, 1),
        verdicts_s=round(verdicts_s, 1),
        drained_s=round(drained_s, 1),
        settled_s=round(settled_at - started_at, 1),
        drained_per_s=round(records / drained_s, 1),
        cpu_s=used,
        cpu_us_per_completion=round(1e6 * sum(used.values()) / records, 1),
    )


def _records(
    found: Deployment, scene: Scene, count: int, ids: list[str]
) -> Iterator[tuple[str, bytes, bytes]]:
    """Adds the id of each to `ids`."""
    topic, encode = found.topology.topic("completions").name, codec("completion").encode
    for one in as_received(scene, range(count), found.settings.contact_key, int(time.time() * 1000)):
        ids.append(one.completion_id)
        yield topic, one.contact_id.encode(), encode(one)
