"""Whether a completion costs more CPU when more workers share the partitions: `quizstream bench workers`.

The capacity model multiplies: twice the completions, twice the worker cores. That holds only if CPU per
completion does not grow with the number of workers; two cores are enough to measure it. The speed of four
workers needs more cores.
"""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from benchmarks.load.filling import fill_for_stages
from benchmarks.measure.checks import CheckFailed
from benchmarks.measure.deployment import Broker, Tell, broker, end
from benchmarks.measure.figures import Spread
from benchmarks.measure.machine import Measured, begin
from benchmarks.measure.topics import own_topics
from benchmarks.scenarios.workers_process import Said
from pipeline.runtime.topic_reader import TopicScan
from pipeline.topology.model import Topology
from schemas.codec import codec

READY_TIMEOUT_S = 90.0
STEADY_S = 3.0  # all are ready for so long: the group has come to rest
DONE_TIMEOUT_S = 300.0
LOOK_EVERY_S = 0.05
SKIPPED_RATIO = 0.1  # of the records: processes warm up, and chunks are small while the topic is being filled
STOP_TIMEOUT_S = 30.0
RATIO_MAX = 1.2  # of one worker's CPU per completion


class Shared(msgspec.Struct, frozen=True):
    """`workers` processes drained a backlog together.

    `busiest_ratio`: the busiest's share of the records, times the workers; 1 is an even split.
    """

    workers: int
    cpu_us_per_completion: Spread
    completions_per_cpu_s: Spread
    completions_per_s: Spread
    busiest_ratio: Spread


class Result(Measured, frozen=True, kw_only=True):
    """`ratio`: CPU per completion, the most workers to the fewest. `ok`: the model's assumption holds."""

    records: int
    rounds: int
    shared: list[Shared]
    ratio: float
    ratio_max: float
    ok: bool


class Run(NamedTuple):
    cpu_us: float
    per_s: float
    busiest_ratio: float


def measure(counts: Sequence[int], records: int, rounds: int, port_base: int, tell: Tell) -> Result:
    """Raises CheckFailed, CannotStart, LoadBroken."""
    head = begin("workers")
    runs: dict[int, list[Run]] = {count: [] for count in counts}
    rng = random.Random(1)
    with broker(tell, port_base) as kafka:
        for turn in range(rounds):
            for count in rng.sample(list(counts), len(counts)):
                tell(f"round {turn + 1} of {rounds}: {records:,} completions, {count} workers")
                runs[count].append(_run(kafka, count, records))
    return summary(head, runs, records, rounds)


def summary(head: dict[str, Any], runs: dict[int, list[Run]], records: int, rounds: int) -> Result:
    shared = [
        Shared(
            workers=count,
            cpu_us_per_completion=Spread.of([run.cpu_us for run in of]),
            completions_per_cpu_s=Spread.of([1e6 / run.cpu_us for run in of]),
            completions_per_s=Spread.of([run.per_s for run in of]),
            busiest_ratio=Spread.of([run.busiest_ratio for run in of]),
        )
        for count, of in sorted(runs.items())
    ]
    ratio = round(shared[-1].cpu_us_per_completion.median / shared[0].cpu_us_per_completion.median, 3)
    return Result(
        **head,
        records=records,
        rounds=rounds,
        shared=shared,
        ratio=ratio,
        ratio_max=RATIO_MAX,
        ok=ratio <= RATIO_MAX,
    )


def _run(kafka: Broker, count: int, records: int) -> Run:
    """On topics that stay empty until every worker is in the group: no partition moves while it counts."""
    with own_topics(kafka.bootstrap) as (namespace, topology):
        with _workers(kafka, count, namespace) as workers:
            _until_steady(workers)
            topic = topology.topic("completions").name
            filling = threading.Thread(
                target=fill_for_stages, args=(kafka.bootstrap, topic, records), daemon=True
            )
            filling.start()
            wanted = 2 * records  # each completion matches one campaign, so dedup has as many
            _until_done(workers, int(SKIPPED_RATIO * wanted))
            filling.join()
            before, began_s = [worker.said for worker in workers], time.perf_counter()
            _until_done(workers, wanted)
            after, wall_s = [worker.said for worker in workers], time.perf_counter() - began_s
        _check(kafka.bootstrap, topology, records)
    done = [late.records - early.records for early, late in zip(before, after, strict=True)]
    cpu_s = sum(late.cpu_s - early.cpu_s for early, late in zip(before, after, strict=True))
    counted = sum(done) / 2
    return Run(1e6 * cpu_s / counted, counted / wall_s, max(done) * count / sum(done))


def _check(bootstrap: str, topology: Topology, records: int) -> None:
    """By id: one verdict a completion, and each match delivered or a duplicate. Raises CheckFailed."""
    for roles in (("outcomes",), ("deliveries", "duplicates")):
        seen = [
            codec(topology.topic(role).schema or role).decode(record.value).completion_id
            for role in roles
            for record in TopicScan(bootstrap, topology.topic(role)).records()
        ]
        if len(seen) != records or len(set(seen)) != records:
            names, ids = " and ".join(roles), len(set(seen))
            raise CheckFailed(f"{names}: {len(seen):,} of {ids:,} ids, expected {records:,} once each")


class _Worker:
    """A worker process and its last report."""

    def __init__(self, command: list[str], log: Path) -> None:
        self.said = Said()
        with log.open("wb") as errors:
            self.child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.child.stdout is not None
        for line in self.child.stdout:
            with contextlib.suppress(msgspec.DecodeError):  # a library may print, too
                self.said = msgspec.json.decode(line, type=Said)


@contextlib.contextmanager
def _workers(kafka: Broker, count: int, namespace: str) -> Iterator[list[_Worker]]:
    home = kafka.home / namespace
    home.mkdir()
    command = [sys.executable, "-m", "benchmarks.scenarios.workers_process"]
    command += [f"--bootstrap={kafka.bootstrap}", f"--namespace={namespace}"]
    workers: list[_Worker] = []
    try:
        for number in range(count):
            datadir, log = home / str(number), home / f"worker-{number}.log"
            workers.append(_Worker([*command, f"--datadir={datadir}"], log))
        yield workers
    finally:
        for worker in workers:
            end(worker.child, STOP_TIMEOUT_S)


def _until_steady(workers: Sequence[_Worker]) -> None:
    deadline_s = time.monotonic() + READY_TIMEOUT_S
    since_s = None
    while time.monotonic() < deadline_s:
        _require_alive(workers)
        if not all(worker.said.ready for worker in workers):
            since_s = None
        elif since_s is None:
            since_s = time.monotonic()
        elif time.monotonic() - since_s >= STEADY_S:
            return
        time.sleep(LOOK_EVERY_S)
    raise CheckFailed(f"the workers were not ready in {READY_TIMEOUT_S:.0f} s")


def _until_done(workers: Sequence[_Worker], records: int) -> None:
    deadline_s = time.monotonic() + DONE_TIMEOUT_S
    while (done := sum(worker.said.records for worker in workers)) < records:
        _require_alive(workers)
        if time.monotonic() > deadline_s:
            raise CheckFailed(f"{done:,} of {records:,} records were done in {DONE_TIMEOUT_S:.0f} s")
        time.sleep(LOOK_EVERY_S)


def _require_alive(workers: Sequence[_Worker]) -> None:
    for worker in workers:
        if worker.child.poll() is not None:
            raise CheckFailed(f"a worker ended with {worker.child.returncode}")
