"""This project's stages, in the app that runs them in a deployment."""

from __future__ import annotations

import threading
import time
from typing import NoReturn

from benchmarks.load.completions import ten_campaigns
from benchmarks.measure.stage_app import Empty, stage_app
from benchmarks.peers.process import Meter, Work, from_arguments
from pipeline.engine import metrics
from pipeline.engine.app import StageAgent, run_app
from pipeline.worker import stage_agents

LOOK_EVERY_S = 0.002


def main() -> None:
    work = from_arguments()
    agent = _agent(work)
    threading.Thread(target=_watch, args=(work, agent.stage.name), daemon=True).start()
    run_app(stage_app(work.bootstrap, work.group, work.datadir, work.topology, [agent]), loglevel="WARNING")


def _agent(work: Work) -> StageAgent:
    if work.way == "empty":
        source = work.topology.topic("completions")
        return StageAgent(Empty(), source.name, source.partitions, {})
    campaigns = ten_campaigns()
    agents = stage_agents(work.topology, lambda: campaigns)
    return next(agent for agent in agents if agent.stage.name == work.way)


def _watch(work: Work, stage: str) -> NoReturn:
    """Counts acked records: their outputs and changelog are acknowledged, their state is written."""
    meter = Meter(work)
    ended = metrics.RECORDS.labels(stage)
    seen = 0
    while True:
        now = int(ended._value.get())
        if now > seen and meter.count(now - seen):
            meter.end_now()
        seen = now
        time.sleep(LOOK_EVERY_S)


if __name__ == "__main__":
    main()
