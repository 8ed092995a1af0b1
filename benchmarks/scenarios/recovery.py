"""Time in which a worker rebuilds its tables from their changelogs: `quizstream bench recovery`.

A changelog is filled with keys as `qualify` writes them (a contact's memory of one completion). Then a worker
is started in an empty folder, as after the loss of its disk, and timed until it is ready; and again on the
folder that now exists, as after a deploy.
"""

from __future__ import annotations

import random
import time
from typing import NamedTuple

import msgspec

from benchmarks.load.filling import fill
from benchmarks.measure.checks import wait_until
from benchmarks.measure.deployment import Broker, Log, broker
from benchmarks.measure.figures import sizes
from benchmarks.measure.machine import Measured, begin
from benchmarks.measure.topics import own_topics
from benchmarks.plans import Recovery
from benchmarks.scenarios.worker import require_alive, workers_of
from pipeline.engine.envelope import seal
from pipeline.stages.contact_memory import Allowed, ContactMemory, encode

LOOK_EVERY_S = 0.02
READY_TIMEOUT_S = 600.0


class Run(msgspec.Struct, frozen=True):
    """All seconds are from the start of the process until it is ready; `_cpu_s` are of all its threads.

    - `cold_s`: an empty folder, the whole changelog is read. `warm_s`: the folder exists, nothing is read.
    - `start_s`: a process without any state. `keys_per_cpu_s` does not depend on other load on the machine.
    """

    keys: int
    value_bytes: int
    start_s: float
    cold_s: float
    warm_s: float
    start_cpu_s: float
    cold_cpu_s: float
    keys_per_s: int
    keys_per_cpu_s: int
    folder_mb: float


class Result(Measured, frozen=True, kw_only=True):
    runs: list[Run]


class Took(NamedTuple):
    wall_s: float
    cpu_s: float


def measure(plan: Recovery, log: Log) -> Result:
    """Raises CheckFailed, CannotStart, LoadBroken."""
    head, counts = begin("recovery"), sizes(plan.keys)
    runs = []
    with broker(log, plan.port_base) as kafka:
        start = min(_rebuilt(kafka, 0)[0] for _ in range(2))
        for keys in counts:
            log(f"a changelog of {keys:,} keys")
            cold, warm, folder_bytes = _rebuilt(kafka, keys)
            runs.append(
                Run(
                    keys=keys,
                    value_bytes=len(_value()),
                    start_s=round(start.wall_s, 1),
                    cold_s=round(cold.wall_s, 1),
                    warm_s=round(warm.wall_s, 1),
                    start_cpu_s=round(start.cpu_s, 1),
                    cold_cpu_s=round(cold.cpu_s, 1),
                    keys_per_s=round(keys / max(cold.wall_s - start.wall_s, 0.001)),
                    keys_per_cpu_s=round(keys / max(cold.cpu_s - start.cpu_s, 0.001)),
                    folder_mb=round(folder_bytes / 1e6, 1),
                )
            )
    return Result(**head, runs=runs)


def _rebuilt(kafka: Broker, keys: int) -> tuple[Took, Took, int]:
    """A worker in an empty folder, another on the same folder, and the bytes in it."""
    with own_topics(kafka.bootstrap) as (namespace, topology):
        changelog, rng, value = (
            topology.topic("contact_windows_changelog").name,
            random.Random(keys),
            _value(),
        )
        fill(kafka.bootstrap, ((changelog, rng.randbytes(16).hex().encode(), value) for _ in range(keys)))
        cold, warm = _timed(kafka, namespace), _timed(kafka, namespace)
        folder = kafka.home / namespace
        return cold, warm, sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _timed(kafka: Broker, namespace: str) -> Took:
    """Raises CheckFailed."""
    began_s = time.monotonic()
    with workers_of(kafka, namespace, 1) as workers:

        def ready() -> bool:
            require_alive(workers)
            return workers[0].progress.ready

        wait_until(ready, READY_TIMEOUT_S, lambda: "the worker was not ready", LOOK_EVERY_S)
        return Took(time.monotonic() - began_s, workers[0].progress.cpu_s)


def _value() -> bytes:
    """A contact's memory of one completion that matched two campaigns."""
    memory = ContactMemory()
    completion_id = "4f6d54d2-0c6b-5d5e-9d6c-6b1c1f0a7c01"
    memory.remember(Allowed(1_790_000_000_000, completion_id, "bfi", 123_456, (("a", 1), ("b", 3))), 64, 256)
    return seal(123_456, encode(memory))
