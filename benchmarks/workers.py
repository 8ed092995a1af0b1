"""Does a completion cost more CPU when more workers share the partitions? `quizstream bench workers`.

The capacity model multiplies: twice the completions, twice the worker cores. That holds only if CPU a
completion does not grow with the number of workers, which a machine of two cores can tell as well as a large
one. How fast four workers are it cannot tell.
"""

from __future__ import annotations

import contextlib
import random
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from benchmarks.machine import Machine, commit, machine, now
from benchmarks.parts import Spread, Wrong
from benchmarks.stage_input import fill
from benchmarks.subject import Tell
from benchmarks.workers_process import Said
from ops.embedded.home import Home
from ops.embedded.ports import Ports
from ops.embedded.stack import EmbeddedStack
from ops.topics.command import apply
from pipeline.runtime.kafka_clients import admin_client
from pipeline.runtime.settings import Settings
from pipeline.runtime.topic_reader import TopicScan
from pipeline.topology.loader import load
from pipeline.topology.model import Topology
from schemas.codec import codec

READY_TIMEOUT_S = 90.0
STEADY_S = 3.0  # all say that they are ready for so long: the group has come to rest
DONE_TIMEOUT_S = 300.0
LOOK_EVERY_S = 0.05
SKIPPED_RATIO = 0.1  # of the records: processes warm up, and chunks are small while the topic is being filled
STOP_TIMEOUT_S = 30.0
RATIO_MAX = 1.2  # of the CPU a completion costs one worker


class Shared(msgspec.Struct, frozen=True):
    """`workers` processes drained a backlog together. `busiest_ratio`: the busiest's share of the records,
    times the workers; 1 is an even split. `completions_per_s` is this machine's, however many cores it has.
    """

    workers: int
    cpu_us_per_completion: Spread
    completions_per_cpu_s: Spread
    completions_per_s: Spread
    busiest_ratio: Spread


class Result(msgspec.Struct, frozen=True):
    """`ratio`: CPU a completion, the most workers to the fewest. `ok`: the model's claim holds."""

    kind: str
    at: str
    commit: str
    machine: Machine
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
    """Raises Wrong, CannotStart."""
    described, began = machine(), now()
    runs: dict[int, list[Run]] = {count: [] for count in counts}
    rng = random.Random(1)
    home = Home(Path(tempfile.mkdtemp(prefix="quizstream-bench-")))
    home.path.chmod(0o711)  # started by root, PostgreSQL runs as a user that passes through
    stack = EmbeddedStack(home.path, Ports.from_base(port_base), tell, env={})
    try:
        bootstrap = stack.start().kafka_bootstrap
        for turn in range(rounds):
            for count in rng.sample(list(counts), len(counts)):
                tell(f"turn {turn + 1} of {rounds}: {records:,} completions, {count} workers")
                folder = home.path / f"workers-{turn}-{count}"
                runs[count].append(_run(bootstrap, folder, count, records))
    finally:
        stack.stop()
        home.remove()
    return _result(runs, records, rounds, described, began)


def _result(runs: dict[int, list[Run]], records: int, rounds: int, described: Machine, began: str) -> Result:
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
        "workers", began, commit(), described, records, rounds, shared, ratio, RATIO_MAX, ratio <= RATIO_MAX
    )


def _run(bootstrap: str, home: Path, count: int, records: int) -> Run:
    """On topics of its own, empty until every worker is in the group: no share moves while it counts."""
    namespace = f"bench-{secrets.token_hex(4)}."
    topology = load(Settings.from_env().topology_file, namespace)
    apply(topology, bootstrap, 1)
    try:
        with _workers(bootstrap, home, count, namespace) as workers:
            _until_steady(workers)
            topic = topology.topic("completions").name
            filling = threading.Thread(target=fill, args=(bootstrap, topic, records), daemon=True)
            filling.start()
            wanted = 2 * records  # each completion matches one campaign, so dedup has as many
            _until_done(workers, int(SKIPPED_RATIO * wanted))
            filling.join()
            before, began_s = [worker.said for worker in workers], time.perf_counter()
            _until_done(workers, wanted)
            after, wall_s = [worker.said for worker in workers], time.perf_counter() - began_s
        _check(bootstrap, topology, records)
    finally:
        admin = admin_client(bootstrap)
        for future in admin.delete_topics([topic.name for topic in topology.topics.values()]).values():
            future.result()
    done = [late.records - early.records for early, late in zip(before, after, strict=True)]
    cpu_s = sum(late.cpu_s - early.cpu_s for early, late in zip(before, after, strict=True))
    counted = sum(done) / 2
    return Run(1e6 * cpu_s / counted, counted / wall_s, max(done) * count / sum(done))


def _check(bootstrap: str, topology: Topology, records: int) -> None:
    """By id: one verdict a completion, and each match delivered or a duplicate. Raises Wrong."""
    for roles in (("outcomes",), ("deliveries", "duplicates")):
        seen = [
            codec(topology.topic(role).schema or role).decode(record.value).completion_id
            for role in roles
            for record in TopicScan(bootstrap, topology.topic(role)).records()
        ]
        if len(seen) != records or len(set(seen)) != records:
            raise Wrong(
                f"{' and '.join(roles)}: {len(seen):,} of {len(set(seen)):,} ids, not {records:,} once each"
            )


class _Worker:
    """A worker process and the last that it said."""

    def __init__(self, command: list[str], log: Path) -> None:
        self.said = Said(False, 0, 0.0)
        with log.open("wb") as errors:
            self._child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            with contextlib.suppress(msgspec.DecodeError):  # a library may speak, too
                self.said = msgspec.json.decode(line, type=Said)

    @property
    def ended(self) -> int | None:
        return self._child.poll()

    def stop(self) -> None:
        self._child.terminate()
        try:
            self._child.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()


@contextlib.contextmanager
def _workers(bootstrap: str, home: Path, count: int, namespace: str) -> Iterator[list[_Worker]]:
    command = [sys.executable, "-m", "benchmarks.workers_process", f"--bootstrap={bootstrap}"]
    command += [f"--group={namespace}group", f"--namespace={namespace}"]
    command += [f"--topology={Settings.from_env().topology_file}"]
    home.mkdir(parents=True)
    workers: list[_Worker] = []
    try:
        for number in range(count):
            workers.append(
                _Worker([*command, f"--datadir={home / str(number)}"], home / f"worker-{number}.log")
            )
        yield workers
    finally:
        for worker in workers:
            worker.stop()


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
    raise Wrong(f"the workers were not ready in {READY_TIMEOUT_S:.0f} s")


def _until_done(workers: Sequence[_Worker], records: int) -> None:
    deadline_s = time.monotonic() + DONE_TIMEOUT_S
    while (done := sum(worker.said.records for worker in workers)) < records:
        _require_alive(workers)
        if time.monotonic() > deadline_s:
            raise Wrong(f"{done:,} of {records:,} records were done in {DONE_TIMEOUT_S:.0f} s")
        time.sleep(LOOK_EVERY_S)


def _require_alive(workers: Sequence[_Worker]) -> None:
    for worker in workers:
        if worker.ended is not None:
            raise Wrong(f"a worker ended with {worker.ended}")


def text(r: Result) -> str:
    lines = [f"{r.records:,} completions of which each matches, {r.rounds} rounds"]
    for one in r.shared:
        cpu, per_s = one.cpu_us_per_completion, one.completions_per_s
        lines.append(
            f"{one.workers} workers: {cpu.median:.1f} us a completion ({cpu.min:.1f}-{cpu.max:.1f}), "
            f"{one.completions_per_cpu_s.median:,.0f} a CPU second; here {per_s.median:,.0f}/s; "
            f"the busiest did {one.busiest_ratio.median:.2f} times its share"
        )
    verdict = "holds" if r.ok else "DOES NOT HOLD"
    lines.append(
        f"CPU a completion, {r.shared[-1].workers} workers to {r.shared[0].workers}: {r.ratio:.2f} "
        f"(at most {r.ratio_max}): the model's claim {verdict}"
    )
    return "\n".join(lines)
