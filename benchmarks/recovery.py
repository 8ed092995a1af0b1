"""How long a worker needs to rebuild its tables from their changelogs: `python -m benchmarks.recovery`.

A changelog is filled with keys as the stage `qualify` writes them (a contact's memory of one completion),
on a broker of the benchmark's own. Then a worker with the topology's tables is started in an empty folder, as
after the loss of its disk, and timed from the first to the last record that it applies. It is started again
on the folder that is there, as after every deploy: that is the difference which a kept folder makes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

from benchmarks.machine import Machine, commit, machine, now
from ops.embedded.ports import Ports
from ops.embedded.stack import EmbeddedStack
from pipeline.engine.app import Deliveries, StageAgent, StreamSettings, build_app, run_app
from pipeline.engine.batch_producer import BatchProducer
from pipeline.engine.envelope import seal
from pipeline.runtime.kafka_clients import admin_client, idempotent_producer
from pipeline.runtime.record import Poison, Record
from pipeline.stages.contact_memory import Allowed, ContactMemory, encode
from pipeline.stages.contract import Output, StageResult, StateReader

SIZES = (100_000, 1_000_000)
PARTITIONS = 8
PORT_BASE = 18_900  # below the ports that outgoing connections are given
RECORD_BYTES_MAX = 1_048_576
RESULTS = Path(__file__).resolve().parent / "results" / "recovery.json"
READY = "ready"


class Run(msgspec.Struct, frozen=True):
    """`cold_s`: an empty folder, everything is read. `warm_s`: the folder is there, nothing is to be read.

    Both are from the start of the process until it is ready; `start_s` is what a process without any state
    needs for that. `cold_cpu_s` and `start_cpu_s` are the worker's own processor time, which other load on
    the machine does not change: `keys_per_cpu_s` comes from them.
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


class Result(msgspec.Struct, frozen=True):
    at: str
    commit: str
    machine: Machine
    partitions: int
    runs: list[Run]


class Remembers:
    """A stage with one table, which it never writes: its changelog is filled by hand."""

    name = "remembers"
    tables = ("memory",)

    def process(self, records: list[Record], read: StateReader) -> StageResult:
        return StageResult([], [], [])


def value() -> bytes:
    """A contact's memory of one completion that matched two campaigns."""
    entry = Allowed(
        1_790_000_000_000, "4f6d54d2-0c6b-5d5e-9d6c-6b1c1f0a7c01", "bfi", 123_456, (("a", 1), ("b", 3))
    )
    memory = ContactMemory()
    memory.remember(entry, 64, 256)
    return seal(123_456, encode(memory))


def fill(bootstrap: str, topic: str, keys: int) -> None:
    admin = admin_client(bootstrap)
    wanted = [
        NewTopic(topic, PARTITIONS, 1, config={"cleanup.policy": "compact"}),
        NewTopic(f"{topic}.source", PARTITIONS, 1),
    ]
    for made in admin.create_topics(wanted).values():
        made.result(30)
    producer = idempotent_producer(
        bootstrap,
        "quizstream-bench",
        record_bytes_max=RECORD_BYTES_MAX,
        linger_ms=20,
        delivery_timeout_ms=300_000,
    )
    rng, content = random.Random(keys), value()
    for number in range(keys):
        key = rng.getrandbits(128).to_bytes(16, "big").hex().encode()
        while True:
            try:
                producer.produce(topic, content, key, number % PARTITIONS)
                break
            except BufferError:
                producer.poll(0.1)
        if number % 1000 == 0:
            producer.poll(0)
    left = producer.flush(300)
    assert left == 0, f"{left} records were not delivered"


class Took(NamedTuple):
    """`cpu_s` of the worker's whole life, its stop included."""

    wall_s: float
    cpu_s: float


def timed_worker(bootstrap: str, topic: str, folder: Path) -> Took:
    """How long a worker process takes from its start until its tables are whole."""
    began_s = time.monotonic()
    before = _children_cpu_s()
    worker = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.recovery", "--worker", bootstrap, topic, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert worker.stdout is not None
    for line in worker.stdout:
        if line.strip() == READY:
            break
    took_s = time.monotonic() - began_s
    worker.terminate()
    status = worker.wait(30)
    assert status == 0, f"the worker ended with {status}"
    return Took(took_s, _children_cpu_s() - before)


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run_worker(bootstrap: str, topic: str, folder: Path) -> None:
    logging.disable(logging.INFO)
    settings = StreamSettings(
        group=f"{topic}.group",
        bootstrap_servers=bootstrap,
        datadir=folder,
        output_bytes_max=RECORD_BYTES_MAX,
    )
    agent = StageAgent(
        stage=Remembers(),  # type: ignore[arg-type]  # the protocol's tables are a tuple of any length
        source=f"{topic}.source",
        partitions=PARTITIONS,
        changelogs={"memory": topic},
    )

    def never(poison: Poison) -> Output:
        raise AssertionError(poison.reason)

    app = build_app(settings, [agent], Deliveries(BatchProducer(bootstrap, RECORD_BYTES_MAX), never))

    @app.task  # type: ignore[untyped-decorator]
    async def tell() -> None:
        while app.readiness().reasons:  # noqa: ASYNC110  # it is asked, it does not tell
            await asyncio.sleep(0.01)
        print(READY, flush=True)

    run_app(app, "WARNING")


def measure(bootstrap: str, keys: int, start: Took) -> Run:
    topic = f"changelog-{keys}"
    fill(bootstrap, topic, keys)
    folder = Path(tempfile.mkdtemp(prefix="recovery-"))
    try:
        cold = timed_worker(bootstrap, topic, folder)
        warm = timed_worker(bootstrap, topic, folder)
        size_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    finally:
        shutil.rmtree(folder)
    value_bytes = len(value())
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
        folder_mb=round(size_bytes / 1e6, 1),
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--keys", type=int, nargs="*", default=list(SIZES), help="sizes of the table")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--worker", nargs=3, metavar=("BOOTSTRAP", "TOPIC", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.worker:
        run_worker(args.worker[0], args.worker[1], Path(args.worker[2]))
        return
    before = machine()
    home = Path(tempfile.mkdtemp(prefix="quizstream-recovery-"))
    home.chmod(0o755)
    stack = EmbeddedStack(home, Ports.from_base(PORT_BASE))
    try:
        bootstrap = stack.start().kafka_bootstrap
        fill(bootstrap, "nothing", 0)
        start = min(_nothing(bootstrap) for _ in range(2))
        runs: list[Run] = []
        for keys in args.keys:
            runs.append(measure(bootstrap, keys, start))
            print(json.dumps(_builtins(runs[-1])), flush=True)
    finally:
        stack.stop()
        shutil.rmtree(home, ignore_errors=True)
    result = Result(now(), commit(), before, PARTITIONS, runs)
    args.out.parent.mkdir(exist_ok=True)
    args.out.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")


def _nothing(bootstrap: str) -> Took:
    folder = Path(tempfile.mkdtemp(prefix="recovery-"))
    try:
        return timed_worker(bootstrap, "nothing", folder)
    finally:
        shutil.rmtree(folder)


def _builtins(run: Run) -> Any:
    return msgspec.to_builtins(run)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
