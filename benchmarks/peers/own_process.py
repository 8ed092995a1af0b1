"""This project's stages, in the app that runs them in a deployment."""

from __future__ import annotations

import threading
import time
from typing import NoReturn

from benchmarks.peers.process import Meter, Work, told
from benchmarks.stage_input import campaigns
from benchmarks.stage_process import LOOK_EVERY_S, OUTPUT_BYTES_MAX, Empty
from pipeline.engine import metrics
from pipeline.engine.app import Deliveries, StageAgent, StreamSettings, build_app, run_app
from pipeline.engine.batch_producer import BatchProducer
from pipeline.engine.chunk import ChunkLimits
from pipeline.runtime.record import Poison
from pipeline.stages.contract import Output
from pipeline.worker import stage_agents


def main() -> None:
    work = told()
    agent = _agent(work)
    threading.Thread(target=_watch, args=(work, agent.stage.name), daemon=True).start()
    stream = work.topology.stream
    app = build_app(
        StreamSettings(
            work.group,
            work.bootstrap,
            work.datadir,
            OUTPUT_BYTES_MAX,
            ChunkLimits(stream.chunk_records_max, stream.chunk_bytes_max),
        ),
        [agent],
        Deliveries(BatchProducer(work.bootstrap, OUTPUT_BYTES_MAX), _no_poison),
    )
    run_app(app, loglevel="WARNING")


def _agent(work: Work) -> StageAgent:
    if work.way == "empty":
        source = work.topology.topic("completions")
        return StageAgent(Empty(), source.name, source.partitions, {})
    known = campaigns()
    return {found.stage.name: found for found in stage_agents(work.topology, lambda: known)}[work.way]


def _watch(work: Work, stage: str) -> NoReturn:
    """Counts what the runner has acked: its outputs and its changelog are acknowledged, its state written."""
    meter = Meter(work)
    ended = metrics.records.labels(stage)
    seen = 0
    while True:
        now = int(ended._value.get())
        if now > seen and meter.count(now - seen):
            meter.end_now()
        seen = now
        time.sleep(LOOK_EVERY_S)


def _no_poison(poison: Poison) -> Output:
    raise AssertionError(poison.reason)


if __name__ == "__main__":
    main()
