"""Options that several commands of this folder have."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.runtime.ports import EDGES_MAX

Brokers = Annotated[
    int | None,
    typer.Option(help="Kafka brokers of a new home: 1 or 3. Later: as it was made."),
]
Edges = Annotated[
    int,
    typer.Option(min=1, max=EDGES_MAX, help="Edge processes, which share the edge's port."),
]
