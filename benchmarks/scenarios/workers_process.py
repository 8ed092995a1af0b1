"""One worker of several that share the partitions: both stages in one app, as in a deployment.

Prints a `Said` as a JSON line every `SAY_EVERY_S`. Ends at SIGTERM.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from pathlib import Path

import msgspec

from benchmarks.load.completions import ten_campaigns
from benchmarks.measure.machine import TOPOLOGY
from benchmarks.measure.stage_app import stage_app
from pipeline.engine import metrics
from pipeline.engine.app import StageAgent, StreamApp, run_app
from pipeline.topology.loader import load
from pipeline.worker import stage_agents

SAY_EVERY_S = 0.1


class Said(msgspec.Struct, frozen=True):
    """`records`: of both stages, acknowledged. `cpu_s`: of all threads since the process began."""

    ready: bool = False
    records: int = 0
    cpu_s: float = 0.0


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


if __name__ == "__main__":
    main()
