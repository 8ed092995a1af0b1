"""One worker of several that share the partitions: both stages in one app, as in a deployment.

Says on stdout, a JSON line every `SAY_EVERY_S`, what it has done so far (`Said`). Ends at SIGTERM.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from pathlib import Path

import msgspec

from benchmarks.stage_input import campaigns
from benchmarks.stage_process import OUTPUT_BYTES_MAX
from pipeline.engine import metrics
from pipeline.engine.app import Deliveries, StageAgent, StreamApp, StreamSettings, build_app, run_app
from pipeline.engine.batch_producer import BatchProducer
from pipeline.engine.chunk import ChunkLimits
from pipeline.runtime.record import Poison
from pipeline.stages.contract import Output
from pipeline.topology.loader import load
from pipeline.worker import stage_agents

SAY_EVERY_S = 0.1


class Said(msgspec.Struct, frozen=True):
    """`records`: of both stages, acknowledged. `cpu_s`: of all threads since the process began."""

    ready: bool
    records: int
    cpu_s: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("bootstrap", "group", "namespace"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("topology", "datadir"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()
    topology = load(args.topology, args.namespace)
    known, stream = campaigns(), topology.stream
    agents = stage_agents(topology, lambda: known)
    app = build_app(
        StreamSettings(
            args.group,
            args.bootstrap,
            args.datadir,
            OUTPUT_BYTES_MAX,
            ChunkLimits(stream.chunk_records_max, stream.chunk_bytes_max),
            session_timeout_s=stream.session_timeout_s,
            commit_interval_s=stream.commit_interval_s,
        ),
        agents,
        Deliveries(BatchProducer(args.bootstrap, OUTPUT_BYTES_MAX), _no_poison),
    )
    threading.Thread(target=_say, args=(app, agents), daemon=True).start()
    run_app(app, loglevel="WARNING")


def _say(app: StreamApp, agents: list[StageAgent]) -> None:
    done = [metrics.records.labels(agent.stage.name) for agent in agents]
    while True:
        time.sleep(SAY_EVERY_S)
        records = sum(int(each._value.get()) for each in done)
        said = Said(not app.readiness().reasons, records, time.process_time())
        sys.stdout.buffer.write(msgspec.json.encode(said) + b"\n")
        sys.stdout.buffer.flush()


def _no_poison(poison: Poison) -> Output:
    raise AssertionError(poison.reason)


if __name__ == "__main__":
    main()
