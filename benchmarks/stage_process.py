"""One measurement of `benchmarks.stages`, in a process of its own: reads so many records one way.

What it writes to the file `--out` is JSON: `records` measured, `wall_s` and `cpu_s` (all threads) they took.
Start-up, the joining of the group and the first chunk are left out.
"""

import argparse
import asyncio
import json
import os
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import faust
from aiokafka import AIOKafkaConsumer

from benchmarks.stage_input import campaigns
from pipeline.engine import metrics
from pipeline.engine.app import Deliveries, StageAgent, StreamSettings, build_app, run_app
from pipeline.engine.batch_producer import BatchProducer
from pipeline.engine.chunk import ChunkLimits
from pipeline.runtime.record import Poison, Record
from pipeline.stages.contract import Output, Stage, StageResult, StateReader
from pipeline.topology.loader import load
from pipeline.worker import stage_agents

OUTPUT_BYTES_MAX = 1_000_000
LOOK_EVERY_S = 0.002


class Meter:
    """Measures from the first records, which do not count, to the last."""

    def __init__(self, records: int, out: Path) -> None:
        self._records = records
        self._out = out
        self._not_counted = -1
        self._began = (0.0, 0.0)

    def first(self, records: int) -> None:
        """Begin, unless it has begun; `records` of the first chunk are not counted."""
        if self._not_counted < 0:
            self._not_counted = records
            self._began = (time.perf_counter(), time.process_time())

    def end(self) -> NoReturn:
        """Write down what was measured and end the process, whatever runs in it."""
        wall_s = time.perf_counter() - self._began[0]
        cpu_s = time.process_time() - self._began[1]
        counted = self._records - self._not_counted
        self._out.write_text(json.dumps({"records": counted, "wall_s": wall_s, "cpu_s": cpu_s}))
        os._exit(0)


class Empty:
    """A stage that does nothing: what is left is the transport and the runner."""

    name = "empty"
    tables: tuple[str, ...] = ()

    def process(self, records: Sequence[Record], read: StateReader) -> StageResult:
        return StageResult([], [], [])


class Timed:
    """A stage, with the meter begun at its first call."""

    def __init__(self, stage: Stage, meter: Meter) -> None:
        self.name = stage.name
        self.tables = stage.tables
        self._stage = stage
        self._meter = meter

    def process(self, records: Sequence[Record], read: StateReader) -> StageResult:
        self._meter.first(len(records))
        return self._stage.process(records, read)


def _no_poison(poison: Poison) -> Output:
    raise AssertionError(poison.reason)


def run_batch(args: argparse.Namespace, agent: StageAgent, limits: ChunkLimits) -> NoReturn:
    """The stream's own app, with one stage."""
    meter = Meter(args.records, args.out)
    ended = metrics.records.labels(agent.stage.name)

    def watch() -> None:
        while ended._value.get() < args.records:
            time.sleep(LOOK_EVERY_S)
        meter.end()

    threading.Thread(target=watch, daemon=True).start()
    app = build_app(
        StreamSettings(args.group, args.bootstrap, args.datadir, OUTPUT_BYTES_MAX, limits),
        [
            StageAgent(
                stage=Timed(agent.stage, meter),
                source=agent.source,
                partitions=agent.partitions,
                changelogs=agent.changelogs,
            )
        ],
        Deliveries(BatchProducer(args.bootstrap, OUTPUT_BYTES_MAX), _no_poison),
    )
    run_app(app, loglevel="WARNING")


def run_stock(args: argparse.Namespace) -> NoReturn:
    """Faust as it comes, record by record."""
    app = faust.App(
        args.group,
        broker=f"kafka://{args.bootstrap}",
        datadir=args.datadir,
        autodiscover=False,
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        consumer_auto_offset_reset="earliest",
    )
    topic = app.topic(
        args.topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
    )
    meter = Meter(args.records, args.out)

    async def count(stream: Any) -> None:
        seen = 0
        async for _ in stream.events():
            meter.first(1)
            seen += 1
            if seen == args.records:
                meter.end()

    app.agent(topic, name="stock")(count)
    run_app(app, loglevel="WARNING")


async def run_aiokafka(args: argparse.Namespace) -> NoReturn:
    """aiokafka alone, in batches: no agents, no tables, no acks."""
    consumer = AIOKafkaConsumer(
        args.topic, bootstrap_servers=args.bootstrap, group_id=args.group, auto_offset_reset="earliest"
    )
    await consumer.start()
    meter = Meter(args.records, args.out)
    seen = 0
    while True:
        for batch in (await consumer.getmany(timeout_ms=1000)).values():
            meter.first(len(batch))
            seen += len(batch)
            if seen >= args.records:
                meter.end()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("way", choices=["stock", "batch", "aiokafka", "qualify", "dedup"])
    for name in ("bootstrap", "group", "topic", "namespace"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--partitions", type=int, required=True)
    parser.add_argument("--records", type=int, required=True)
    parser.add_argument("--topology", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        args.datadir = Path(folder)
        if args.way == "stock":
            run_stock(args)
        if args.way == "aiokafka":
            asyncio.run(run_aiokafka(args))
        topology = load(args.topology, args.namespace)
        limits = ChunkLimits(topology.stream.chunk_records_max, topology.stream.chunk_bytes_max)
        if args.way == "batch":
            run_batch(args, StageAgent(Empty(), args.topic, args.partitions, {}), limits)
        agents = {agent.stage.name: agent for agent in stage_agents(topology, campaigns)}
        run_batch(args, agents[args.way], limits)


if __name__ == "__main__":
    main()
