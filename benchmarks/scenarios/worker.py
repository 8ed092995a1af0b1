"""Worker processes of a benchmark, each with both stages in one app, as in a deployment.

The process prints a `Progress` as a JSON line every `REPORT_EVERY_S` and ends at SIGTERM.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from benchmarks.load.completions import ten_campaigns
from benchmarks.measure.checks import CheckFailed
from benchmarks.measure.deployment import Broker, end
from benchmarks.measure.machine import TOPOLOGY
from benchmarks.measure.stage_app import stage_app
from pipeline.engine import metrics
from pipeline.engine.app import StageAgent, StreamApp, run_app
from pipeline.topology.loader import load
from pipeline.worker import stage_agents

REPORT_EVERY_S = 0.1
STOP_TIMEOUT_S = 30.0


class Progress(msgspec.Struct, frozen=True):
    """`records`: of both stages, acknowledged; `keys`: in all tables.

    `cpu_s`: of all threads since the process began.
    """

    ready: bool = False
    records: int = 0
    cpu_s: float = 0.0
    keys: int = 0


class Worker:
    """A worker process and its last report."""

    def __init__(self, command: list[str], log: Path) -> None:
        self.progress = Progress()
        with log.open("ab") as errors:
            self.child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.child.stdout is not None
        for line in self.child.stdout:
            with contextlib.suppress(msgspec.DecodeError):  # a library may print, too
                self.progress = msgspec.json.decode(line, type=Progress)


@contextlib.contextmanager
def workers_of(kafka: Broker, namespace: str, count: int) -> Iterator[list[Worker]]:
    """Started; a later call with the same namespace uses the same folders."""
    home = kafka.home / namespace
    home.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "benchmarks.scenarios.worker"]
    command += [f"--bootstrap={kafka.bootstrap}", f"--namespace={namespace}"]
    workers: list[Worker] = []
    try:
        for number in range(count):
            datadir, log = home / str(number), home / f"worker-{number}.log"
            workers.append(Worker([*command, f"--datadir={datadir}"], log))
        yield workers
    finally:
        for worker in workers:
            end(worker.child, STOP_TIMEOUT_S)


def require_alive(workers: Sequence[Worker]) -> None:
    """Raises CheckFailed."""
    for worker in workers:
        if worker.child.poll() is not None:
            raise CheckFailed(f"a worker ended with {worker.child.returncode}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("bootstrap", "namespace"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--datadir", type=Path, required=True)
    args = parser.parse_args()
    topology = load(TOPOLOGY, args.namespace)
    campaigns = ten_campaigns()
    agents = stage_agents(topology, lambda: campaigns)
    app = stage_app(args.bootstrap, f"{args.namespace}group", args.datadir, topology, agents)
    threading.Thread(target=_report, args=(app, agents), daemon=True).start()
    run_app(app, loglevel="WARNING")


def _report(app: StreamApp, agents: list[StageAgent]) -> None:
    done = [metrics.RECORDS.labels(agent.stage.name) for agent in agents]
    while True:
        time.sleep(REPORT_EVERY_S)
        records = sum(int(each._value.get()) for each in done)
        keys = sum(int(sample.value) for family in metrics.KEYS.collect() for sample in family.samples)
        progress = Progress(not app.readiness().reasons, records, time.process_time(), keys)
        sys.stdout.buffer.write(msgspec.json.encode(progress) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
