"""`quizstream bench`, registered by the entry point `bench` of pyproject.toml."""

from __future__ import annotations

import typer

from benchmarks.commands.parts import edge, growth, recovery, sender, sink, stages, workers
from benchmarks.commands.peers import peers
from benchmarks.commands.plot import plot
from benchmarks.commands.shapes import shapes
from benchmarks.commands.whole import compare, e2e, storage

bench = typer.Typer(
    name="bench",
    help="Measure. Every result is checked before it is printed, with its machine and commit.",
    no_args_is_help=True,
)
for _verb in (e2e, compare, edge, stages, sink, sender, peers, growth, workers, storage, recovery, plot):
    bench.command()(_verb)
bench.add_typer(shapes)


def register(app: typer.Typer) -> None:
    """Adds `quizstream bench`."""
    app.add_typer(bench)
