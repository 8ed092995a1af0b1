"""The edge, with its guards or without: `python -m benchmarks.measure.guarded_edge with|without`.

The product has no switch that turns its limits off, so the bare one is made here. In both, the load's own
machine counts as a proxy, so that requests of many clients can be offered.
"""

from __future__ import annotations

import sys
from typing import Any

from msgspec.structs import replace

from ingest_api import server
from ingest_api.abuse.guard import Guard
from ingest_api.limits.sources import Sources
from ops.processes import table
from pipeline.errors import exit_with_one_line
from pipeline.runtime.settings import Settings
from pipeline.topology.file import Sources as Networks
from pipeline.topology.model import Topology

WITH, WITHOUT = "with", "without"


def command(guards: str) -> list[str]:
    """What starts it. `guards`: WITH or WITHOUT."""
    return [sys.executable, "-m", "benchmarks.measure.guarded_edge", guards]


def _unguarded(handle: Any, *_of: object) -> Any:
    return handle


def _run(guards: str) -> int:
    sources_of = server.sources_of

    def behind_a_proxy(settings: Settings, topology: Topology) -> Sources:
        sources = Networks(proxies=("127.0.0.0/8", "::1/128"), trusted=())
        return sources_of(settings, replace(topology, edge=replace(topology.edge, sources=sources)))

    server.sources_of = behind_a_proxy
    if guards == WITHOUT:
        setattr(server, "RateLimited", _unguarded)  # noqa: B010
        setattr(Guard, "completions", lambda _self, handle: handle)  # noqa: B010
    return table.run(table.EDGE, Settings.from_env())


if __name__ == "__main__":
    exit_with_one_line(table.EDGE, lambda: _run(sys.argv[1]))
