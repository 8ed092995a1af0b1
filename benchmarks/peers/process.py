"""Arguments of every measured process, and its meter.

It writes JSON to `--out`: `records` measured, their `wall_s` and `cpu_s` (all threads, user and system).
Start-up, joining the group and the first records do not count; the last acknowledgement and commit do.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import NoReturn

import msgspec

from pipeline.topology.loader import load
from pipeline.topology.model import Topology

WAYS = ("empty", "qualify", "dedup")
SKIPPED_RATIO = 0.02  # of the records; small, because records fetched ahead by then cost the meter nothing


class Work(msgspec.Struct, frozen=True):
    way: str
    bootstrap: str
    group: str
    topology: Topology
    records: int
    datadir: Path
    out: Path

    @property
    def source(self) -> str:
        """The topic that is read."""
        return self.topic("matches" if self.way == "dedup" else "completions")

    def topic(self, role: str) -> str:
        return self.topology.topic(role).name


def from_arguments() -> Work:
    parser = argparse.ArgumentParser()
    parser.add_argument("way", choices=WAYS)
    for name in ("bootstrap", "group", "namespace"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--records", type=int, required=True)
    for name in ("topology", "datadir", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()
    topology = load(args.topology, args.namespace)
    return Work(args.way, args.bootstrap, args.group, topology, args.records, args.datadir, args.out)


class Meter:
    """Call `count` with each record, or batch of them, once it is read; `end` once all is durable."""

    def __init__(self, work: Work) -> None:
        self._records = work.records
        self._out = work.out
        self._skipped = int(work.records * SKIPPED_RATIO)
        self._seen = 0
        self._not_counted = -1
        self._began = (0.0, 0.0)

    def count(self, records: int = 1) -> bool:
        """Whether these were the last."""
        self._seen += records
        if self._not_counted < 0 and self._seen >= self._skipped:
            self._not_counted = self._seen
            self._began = (time.perf_counter(), time.process_time())
        return self._seen >= self._records

    def end(self) -> None:
        """Writes the result."""
        wall_s = time.perf_counter() - self._began[0]
        cpu_s = time.process_time() - self._began[1]
        counted = self._seen - self._not_counted
        self._out.write_text(json.dumps({"records": counted, "wall_s": wall_s, "cpu_s": cpu_s}))

    def end_now(self) -> NoReturn:
        """The same, and ends the process with all that runs in it."""
        self.end()
        os._exit(0)
