"""Whether a completion costs more CPU when more workers share the partitions: `quizstream bench workers`.

The capacity model multiplies: twice the completions, twice the worker cores. That holds only if CPU per
completion does not grow with the number of workers; two cores are enough to measure it. The speed of four
workers needs more cores.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.load.filling import fill_for_stages
from benchmarks.measure.checks import CheckFailed, wait_until
from benchmarks.measure.deployment import Broker, Log, broker
from benchmarks.measure.figures import Spread, spreads
from benchmarks.measure.machine import Measured, begin
from benchmarks.measure.topics import events, own_topics
from benchmarks.plans import Workers
from benchmarks.scenarios.worker import Worker, require_alive, workers_of
from pipeline.topology.model import Topology

READY_TIMEOUT_S = 90.0
STEADY_S = 3.0  # all are ready for so long: the group has come to rest
DONE_TIMEOUT_S = 300.0
SKIPPED_RATIO = 0.1  # of the records: processes warm up, and chunks are small while the topic is being filled
RATIO_MAX = 1.2  # of one worker's CPU per completion


class Result(Measured, frozen=True, kw_only=True):
    """By number of workers, which drained a backlog together.

    - `busiest_ratio`: the busiest's share of the records, times the workers; 1 is an even split.
    - `ratio`: CPU per completion, the most workers to the fewest. `ok`: the model's assumption holds.
    """

    plan: Workers
    shared: dict[str, dict[str, Spread]]
    ratio: float
    ratio_max: float
    ok: bool


def measure(plan: Workers, log: Log) -> Result:
    """Raises CheckFailed, CannotStart, LoadBroken."""
    head = begin("workers")
    counts = sorted(set(plan.workers))
    runs: dict[int, list[dict[str, float]]] = {count: [] for count in counts}
    rng = random.Random(1)
    with broker(log, plan.port_base) as kafka:
        for turn in range(plan.rounds):
            for count in rng.sample(counts, len(counts)):
                log(f"round {turn + 1} of {plan.rounds}: {plan.records:,} completions, {count} workers")
                runs[count].append(_run(kafka, count, plan.records))
    return summary(head, plan, runs)


def summary(head: dict[str, Any], plan: Workers, runs: dict[int, list[dict[str, float]]]) -> Result:
    shared = {f"{count} workers": spreads(of) for count, of in runs.items()}
    cpu_us = [spreads(of)["cpu_us_per_completion"].median for of in runs.values()]
    ratio = round(cpu_us[-1] / cpu_us[0], 3)
    return Result(**head, plan=plan, shared=shared, ratio=ratio, ratio_max=RATIO_MAX, ok=ratio <= RATIO_MAX)


def _run(kafka: Broker, count: int, records: int) -> dict[str, float]:
    """On topics that stay empty until every worker is in the group: no partition moves while it counts."""
    with own_topics(kafka.bootstrap) as (namespace, topology):
        with workers_of(kafka, namespace, count) as workers:
            _until_steady(workers)
            topic = topology.topic("completions").name
            filling = threading.Thread(
                target=fill_for_stages, args=(kafka.bootstrap, topic, records), daemon=True
            )
            filling.start()
            wanted = 2 * records  # each completion matches one campaign, so dedup has as many
            _until_done(workers, int(SKIPPED_RATIO * wanted))
            filling.join()
            before, began_s = [worker.progress for worker in workers], time.perf_counter()
            _until_done(workers, wanted)
            after, wall_s = [worker.progress for worker in workers], time.perf_counter() - began_s
        _check(kafka.bootstrap, topology, records)
    done = [late.records - early.records for early, late in zip(before, after, strict=True)]
    cpu_s = sum(late.cpu_s - early.cpu_s for early, late in zip(before, after, strict=True))
    counted = sum(done) / 2
    return {
        "cpu_us_per_completion": 1e6 * cpu_s / counted,
        "completions_per_s": counted / wall_s,
        "busiest_ratio": max(done) * count / sum(done),
    }


def _check(bootstrap: str, topology: Topology, records: int) -> None:
    """By id: one verdict a completion, and each match delivered or a duplicate. Raises CheckFailed."""
    for roles in (("outcomes",), ("deliveries", "duplicates")):
        seen = [event.completion_id for role in roles for _, event in events(bootstrap, topology, role)]
        if len(seen) != records or len(set(seen)) != records:
            names, ids = " and ".join(roles), len(set(seen))
            raise CheckFailed(f"{names}: {len(seen):,} of {ids:,} ids, expected {records:,} once each")


def _until_steady(workers: Sequence[Worker]) -> None:
    since_s = time.monotonic()

    def steady() -> bool:
        nonlocal since_s
        require_alive(workers)
        if not all(worker.progress.ready for worker in workers):
            since_s = time.monotonic()
        return time.monotonic() - since_s >= STEADY_S

    wait_until(steady, READY_TIMEOUT_S, lambda: "the workers were not ready")


def _until_done(workers: Sequence[Worker], records: int) -> None:
    def done() -> int:
        require_alive(workers)
        return sum(worker.progress.records for worker in workers)

    wait_until(lambda: done() >= records, DONE_TIMEOUT_S, lambda: f"{done():,} of {records:,} were done")
