"""What a record costs in the stream: `python -m benchmarks.stages [--json]`, or `quizstream bench stages`.

The transport alone (an empty stage) is measured beside Faust as it comes and aiokafka alone, on the same
records of the same topic, in turns; then each real stage with its state, its outputs and its changelog on
the broker. CPU time is that of the whole process, all threads. Nothing is printed where records were lost.
"""

import argparse
import json as json_module
import os
import platform
import secrets
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka.cimpl import NewTopic

from benchmarks.stage_input import fill
from ops.embedded.ports import Ports
from ops.embedded.stack import EmbeddedStack
from ops.topics.command import apply
from pipeline.runtime.kafka_clients import admin_client
from pipeline.runtime.settings import Settings
from pipeline.runtime.topic_offsets import TopicOffsets
from pipeline.topology.loader import load
from pipeline.topology.model import Topology

ROUNDS = 3
PARTITIONS = 8
TRANSPORT_RECORDS = 300_000
STOCK_RECORDS = 30_000  # of the same topic: record by record takes long
STAGE_RECORDS = 60_000
PROCESS_TIMEOUT_S = 240.0
OWN_PORT_BASE = 22_600
BATCH_VS_STOCK_MIN = 10.0


class Lost(Exception):
    """Records are missing at the end of a measurement: its numbers mean nothing."""


def run(json: bool, bootstrap: str | None = None, rounds: int = ROUNDS) -> int:
    """Measure and print. Without a broker, one is started. Returns the process's exit code."""
    settings = Settings.from_env()
    with _broker(bootstrap) as servers:
        bench = _Bench(settings, servers)
        try:
            report = bench.report(rounds)
        except Lost as lost:
            print(f"nothing to report: {lost}", file=sys.stderr)
            return 1
    if json:
        print(json_module.dumps(report, indent=2))
    else:
        _print(report)
    return 0


class _Bench:
    def __init__(self, settings: Settings, bootstrap: str) -> None:
        self._topology_file = settings.topology_file
        self._bootstrap = bootstrap
        self._admin = admin_client(bootstrap)

    def report(self, rounds: int) -> dict[str, Any]:
        runs: dict[str, list[dict[str, float]]] = {}
        with self._topic(f"bench-{secrets.token_hex(4)}") as topic:
            fill(self._bootstrap, topic, TRANSPORT_RECORDS)
            for _ in range(rounds):
                for way, records in (
                    ("stock", STOCK_RECORDS),
                    ("batch", TRANSPORT_RECORDS),
                    ("aiokafka", TRANSPORT_RECORDS),
                ):
                    runs.setdefault(way, []).append(self._measure(way, topic, "", PARTITIONS, records))
                for way, measured in self._measure_stages().items():
                    runs.setdefault(way, []).append(measured)
        ways = {way: _summary(measured) for way, measured in runs.items()}
        return {
            "machine": _machine(),
            "commit": _commit(),
            "rounds": rounds,
            "batch_vs_stock": round(ways["stock"]["cpu_us_per_event"] / ways["batch"]["cpu_us_per_event"], 1),
            "batch_vs_stock_min": BATCH_VS_STOCK_MIN,
            "batch_vs_aiokafka": round(
                ways["aiokafka"]["cpu_us_per_event"] / ways["batch"]["cpu_us_per_event"], 2
            ),
            "ways": ways,
        }

    def _measure_stages(self) -> dict[str, dict[str, float]]:
        """Each round on topics of its own: state would be read back, and nothing judged again."""
        namespace = f"bench-{secrets.token_hex(4)}."
        topology = load(self._topology_file, namespace)
        apply(topology, self._bootstrap, 1)
        try:
            completions = topology.topic("completions")
            fill(self._bootstrap, completions.name, STAGE_RECORDS)
            qualify = self._measure(
                "qualify", completions.name, namespace, completions.partitions, STAGE_RECORDS
            )
            verdicts = self._count(topology, "outcomes")
            if verdicts != STAGE_RECORDS:
                raise Lost(f"{verdicts} verdicts on {STAGE_RECORDS} completions")
            matches = topology.topic("matches")
            expected = self._count(topology, "matches")
            dedup = self._measure("dedup", matches.name, namespace, matches.partitions, expected)
            passed = self._count(topology, "deliveries") + self._count(topology, "duplicates")
            if passed != expected:
                raise Lost(f"{passed} deliveries and duplicates of {expected} matches")
        finally:
            for future in self._admin.delete_topics([t.name for t in topology.topics.values()]).values():
                future.result()
        return {"qualify": qualify, "dedup": dedup}

    def _measure(
        self, way: str, topic: str, namespace: str, partitions: int, records: int
    ) -> dict[str, float]:
        command = [sys.executable, "-m", "benchmarks.stage_process", way, f"--bootstrap={self._bootstrap}"]
        command += [f"--group=bench-{secrets.token_hex(4)}", f"--topic={topic}", f"--namespace={namespace}"]
        command += [f"--partitions={partitions}", f"--records={records}", f"--topology={self._topology_file}"]
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "measured"
            # A process that does not see all its records does not end by itself.
            code = subprocess.run(
                [*command, f"--out={out}"], stdout=sys.stderr, timeout=PROCESS_TIMEOUT_S, check=False
            ).returncode
            if code:
                raise Lost(f"the process of {way} ended with {code}")
            measured: dict[str, float] = json_module.loads(out.read_text())
        return measured

    def _count(self, topology: Topology, role: str) -> int:
        """How many records a topic that was empty before holds now."""
        topic = topology.topic(role)
        with TopicOffsets(self._bootstrap) as offsets:
            return sum(offsets.ends({topic.name: topic.partitions})[topic.name].values())

    @contextmanager
    def _topic(self, name: str) -> Iterator[str]:
        for future in self._admin.create_topics([NewTopic(name, PARTITIONS, 1)]).values():
            future.result()
        try:
            yield name
        finally:
            for future in self._admin.delete_topics([name]).values():
                future.result()


def _summary(measured: list[dict[str, float]]) -> dict[str, float]:
    """Medians over the rounds, with the least and the most."""
    cpu_us = [1e6 * m["cpu_s"] / m["records"] for m in measured]
    per_s = [m["records"] / m["wall_s"] for m in measured]
    return {
        "cpu_us_per_event": round(statistics.median(cpu_us), 2),
        "cpu_us_per_event_min": round(min(cpu_us), 2),
        "cpu_us_per_event_max": round(max(cpu_us), 2),
        "events_per_s": round(statistics.median(per_s)),
        "events_per_s_min": round(min(per_s)),
        "events_per_s_max": round(max(per_s)),
        "records": round(measured[0]["records"]),
    }


def _machine() -> dict[str, Any]:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return {"cpu": model, "cores": os.cpu_count(), "python": platform.python_version()}


def _commit() -> str:
    def git(*args: str) -> str:
        checkout = Path(__file__).resolve().parent
        done = subprocess.run(["git", *args], cwd=checkout, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    return (git("rev-parse", "--short", "HEAD") or "unknown") + (
        "+changes" if git("status", "--porcelain") else ""
    )


def _print(report: dict[str, Any]) -> None:
    machine = report["machine"]
    print(f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}, {report['commit']}")
    print(f"{'way':10} {'events/s':>10} {'(spread)':>19} {'CPU us/event':>13} {'(spread)':>15}")
    for way, got in report["ways"].items():
        events = f"({got['events_per_s_min']:,}-{got['events_per_s_max']:,})"
        cpu = f"({got['cpu_us_per_event_min']}-{got['cpu_us_per_event_max']})"
        print(f"{way:10} {got['events_per_s']:>10,} {events:>19} {got['cpu_us_per_event']:>13} {cpu:>15}")
    print(f"batch_vs_stock {report['batch_vs_stock']} (at least {report['batch_vs_stock_min']} is wanted)")


@contextmanager
def _broker(bootstrap: str | None) -> Iterator[str]:
    if bootstrap is not None:
        yield bootstrap
        return
    with tempfile.TemporaryDirectory() as folder:
        stack = EmbeddedStack(Path(folder), Ports.from_base(OWN_PORT_BASE))
        try:
            yield stack.start().kafka_bootstrap
        finally:
            stack.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--bootstrap", help="a Kafka to use; without it one is started")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    args = parser.parse_args()
    return run(args.json, args.bootstrap, args.rounds)


if __name__ == "__main__":
    sys.exit(main())
