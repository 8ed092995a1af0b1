"""Kafka Streams (`kafka_streams/`): writes down the work for it, and becomes its Java process."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.load.completions import ACCEPTED_AT_MS, ten_campaigns
from benchmarks.peers import install
from benchmarks.peers.process import Work, from_arguments
from ops.embedded.java import find_java
from schemas import catalogue

QUIZ_ID = "quiz"  # of the bench's input
ROLES = ("outcomes", "matches", "deliveries", "duplicates")
EVENTS = ("completion", "outcome", "match", "duplicate")


def main() -> None:
    work = from_arguments()
    file = work.datadir / "work.json"
    file.write_bytes(msgspec.json.encode(_described(work)))
    state = work.datadir / "state"
    state.mkdir()
    classpath = os.pathsep.join(str(entry) for entry in install.kafka_streams(_tell))
    java = str(find_java())
    os.execv(java, [java, "-cp", classpath, "Stages", str(file)])


def _described(work: Work) -> dict[str, Any]:
    return {
        "way": work.way,
        "bootstrap": work.bootstrap,
        "group": work.group,
        "records": work.records,
        "out": str(work.out),
        "datadir": str(Path(work.datadir) / "state"),
        "source": work.source,
        "topics": {role: work.topic(role) for role in ROLES},
        "schemas": {
            event: {"id": (schema := catalogue.current(event)).schema_id, "text": schema.text}
            for event in EVENTS
        },
        "windows": msgspec.to_builtins(work.topology.windows),
        "campaigns": msgspec.to_builtins(ten_campaigns().in_force(QUIZ_ID, ACCEPTED_AT_MS)),
    }


def _tell(line: str) -> None:
    print(line, file=sys.stderr)


if __name__ == "__main__":
    main()
