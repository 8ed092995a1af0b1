"""The file by which a Prometheus of this host finds every process of `quizstream up`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ops.processes import table
from pipeline.runtime.ports import LOOPBACK
from pipeline.runtime.settings import Settings


def targets(settings: Settings, edges: int) -> list[dict[str, Any]]:
    """Return a target for each process, with the labels that the dashboard and the alert rules expect.

    Several edges have one `process`, as several containers of a service; Prometheus adds the `instance`.
    """
    of_edges = set(table.edge_names(edges))
    found = [
        (table.EDGE if name in of_edges else name, urlsplit(url).netloc)
        for name, url in table.health_urls(settings, edges).items()
    ]
    found.append(("supervisor", f"{LOOPBACK}:{settings.ports.supervisor_metrics}"))
    return [{"targets": [address], "labels": {"process": process}} for process, address in found]


def write(path: Path, settings: Settings, edges: int) -> None:
    """Replace the file as a whole: Prometheus reads it again whenever it changes."""
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.write_text(json.dumps(targets(settings, edges), indent=2) + "\n")
    unfinished.replace(path)
