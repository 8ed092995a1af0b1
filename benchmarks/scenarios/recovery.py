"""Time in which a worker rebuilds its tables from their changelogs: `quizstream bench recovery`.

A changelog is filled with keys as `qualify` writes them (a contact's memory of one completion). Then a worker
process with such a table is started in an empty folder, as after the loss of its disk, and timed until it is
ready; and again on the folder that now exists, as after a deploy.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

from benchmarks.load.filling import fill
from benchmarks.measure.checks import CheckFailed
from benchmarks.measure.deployment import Tell, broker, end
from benchmarks.measure.machine import TOPOLOGY, Measured, begin
from benchmarks.measure.stage_app import Empty, stage_app
from pipeline.engine.app import StageAgent, run_app
from pipeline.engine.envelope import seal
from pipeline.runtime.kafka_clients import admin_client
from pipeline.stages.contact_memory import Allowed, ContactMemory, encode
from pipeline.topology.loader import load

PARTITIONS = 8
READY = "ready"
READY_POLL_S = 0.01
CREATE_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 30.0


class Run(msgspec.Struct, frozen=True):
    """All seconds are from the start of the process until it is ready.

    - `cold_s`: an empty folder, the whole changelog is read. `warm_s`: the folder exists, nothing is read.
    - `start_s`: a process without any state. The `_cpu_s` are processor time of the worker's whole life.
    - `keys_per_cpu_s` comes from the latter, which other load on the machine does not change.
    """

    keys: int
    value_bytes: int
    changelog_mb: float
    start_s: float
    cold_s: float
    warm_s: float
    start_cpu_s: float
    cold_cpu_s: float
    keys_per_s: int
    keys_per_cpu_s: int
    folder_mb: float


class Result(Measured, frozen=True, kw_only=True):
    partitions: int
    runs: list[Run]


class Took(NamedTuple):
    wall_s: float
    cpu_s: float


def measure(sizes: Sequence[int], port_base: int, tell: Tell) -> Result:
    """Raises CheckFailed, CannotStart, LoadBroken."""
    head = begin("recovery")
    runs = []
    with broker(tell, port_base) as kafka:
        _fill(kafka.bootstrap, "nothing", 0)
        start = min(_fresh(kafka.bootstrap, "nothing")[0] for _ in range(2))
        for keys in sizes:
            tell(f"a changelog of {keys:,} keys")
            runs.append(_run(kafka.bootstrap, keys, start))
    return Result(**head, partitions=PARTITIONS, runs=runs)


def _run(bootstrap: str, keys: int, start: Took) -> Run:
    topic = f"changelog-{keys}"
    _fill(bootstrap, topic, keys)
    cold, warm, folder_bytes = _fresh(bootstrap, topic)
    value_bytes = len(_value())
    return Run(
        keys=keys,
        value_bytes=value_bytes,
        changelog_mb=round(keys * (value_bytes + 32) / 1e6, 1),
        start_s=round(start.wall_s, 1),
        cold_s=round(cold.wall_s, 1),
        warm_s=round(warm.wall_s, 1),
        start_cpu_s=round(start.cpu_s, 1),
        cold_cpu_s=round(cold.cpu_s, 1),
        keys_per_s=round(keys / max(cold.wall_s - start.wall_s, 0.001)),
        keys_per_cpu_s=round(keys / max(cold.cpu_s - start.cpu_s, 0.001)),
        folder_mb=round(folder_bytes / 1e6, 1),
    )


def _fill(bootstrap: str, topic: str, keys: int) -> None:
    admin = admin_client(bootstrap)
    topics = [
        NewTopic(topic, PARTITIONS, 1, config={"cleanup.policy": "compact"}),
        NewTopic(f"{topic}.source", PARTITIONS, 1),
    ]
    for future in admin.create_topics(topics).values():
        future.result(CREATE_TIMEOUT_S)
    rng, value = random.Random(keys), _value()
    fill(bootstrap, ((topic, rng.randbytes(16).hex().encode(), value) for _ in range(keys)))


def _value() -> bytes:
    """A contact's memory of one completion that matched two campaigns."""
    memory = ContactMemory()
    completion_id = "4f6d54d2-0c6b-5d5e-9d6c-6b1c1f0a7c01"
    memory.remember(Allowed(1_790_000_000_000, completion_id, "bfi", 123_456, (("a", 1), ("b", 3))), 64, 256)
    return seal(123_456, encode(memory))


def _fresh(bootstrap: str, topic: str) -> tuple[Took, Took, int]:
    """A worker in an empty folder, another on the same folder, and the bytes in it."""
    with tempfile.TemporaryDirectory(prefix="quizstream-recovery-") as folder:
        cold, warm = _timed(bootstrap, topic, folder), _timed(bootstrap, topic, folder)
        return cold, warm, sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


def _timed(bootstrap: str, topic: str, folder: str) -> Took:
    """A worker process, from its start until its tables are complete. Raises CheckFailed."""
    began_s, before_s = time.monotonic(), _children_cpu_s()
    worker = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.scenarios.recovery", bootstrap, topic, folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert worker.stdout is not None
    ready = any(line.strip() == READY for line in worker.stdout)
    wall_s = time.monotonic() - began_s
    if not ready or not end(worker, STOP_TIMEOUT_S) or worker.returncode:
        raise CheckFailed(f"the worker did not get ready, or ended with {worker.wait()}")
    return Took(wall_s, _children_cpu_s() - before_s)


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """The worker process."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("bootstrap", "topic", "folder"):
        parser.add_argument(name)
    args = parser.parse_args()
    logging.disable(logging.INFO)
    stage, source = Empty("remembers", ("memory",)), f"{args.topic}.source"
    agent = StageAgent(stage=stage, source=source, partitions=PARTITIONS, changelogs={"memory": args.topic})
    app = stage_app(args.bootstrap, f"{args.topic}.group", Path(args.folder), load(TOPOLOGY), [agent])

    @app.task  # type: ignore[untyped-decorator]
    async def report() -> None:
        while app.readiness().reasons:  # noqa: ASYNC110  # readiness has no event
            await asyncio.sleep(READY_POLL_S)
        print(READY, flush=True)

    run_app(app, "WARNING")


if __name__ == "__main__":
    main()
