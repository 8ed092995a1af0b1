"""A worker of the real transport and runner whose stage kills its process at certain records."""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from pipeline.engine.app import Deliveries, StageAgent, StreamSettings, build_app, run_app
from pipeline.engine.batch_producer import BatchProducer
from pipeline.runtime.dead_letters import dead_letter, dead_letter_output
from pipeline.runtime.record import Output, Poison, Record
from pipeline.stages.contract import StageResult, StateReader
from pipeline.topology.loader import load

KILLER = b"kills"
BYTES_MAX = 100_000


class Passes:
    """Sends every record on; dies as from a fault in a C library where one is a killer."""

    name = "passes"
    tables: tuple[str, ...] = ()

    def __init__(self, output: str) -> None:
        self._output = output

    def process(self, records: Sequence[Record], read: StateReader) -> StageResult:
        if any(record.value == KILLER for record in records):
            os.kill(os.getpid(), signal.SIGSEGV)
        return StageResult([Output(self._output, b"k", record.value or b"") for record in records], [], [])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topology", type=Path, required=True)
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--home", type=Path, required=True)
    args = parser.parse_args()
    topology = load(args.topology, args.namespace)
    source, output = topology.topic("matches"), topology.topic("deliveries")
    dead = topology.topic("dead_letters")

    def to_dead_letters(poison: Poison) -> Output:
        letter = dead_letter(poison.record, poison.stage, poison.reason, poison.record.attempts, now_ms=0)
        return dead_letter_output(dead, letter)

    settings = StreamSettings(
        group=topology.stream.group,
        bootstrap_servers=args.bootstrap,
        datadir=args.home,
        output_bytes_max=BYTES_MAX,
        session_timeout_s=6.0,  # the least that the broker takes: after a death the group waits so long
    )
    agent = StageAgent(Passes(output.name), source.name, source.partitions, {})
    deliveries = Deliveries(BatchProducer(args.bootstrap, BYTES_MAX), to_dead_letters)
    run_app(build_app(settings, [agent], deliveries))


if __name__ == "__main__":
    main()
