"""Commands of packages that the production image does not contain: benchmarks, chaos.

Each such package names a function `register(app: typer.Typer) -> None` in the entry-point group
`quizstream.commands` of pyproject.toml, so `ops.cli` imports none of them by itself.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

import typer

GROUP = "quizstream.commands"


def register_commands(app: typer.Typer) -> None:
    """Adds the commands of every package of the group; a package that is absent is skipped.

    Raises what the import of a package that is present raises.
    """
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        try:
            register = point.load()
        except ModuleNotFoundError as error:
            if not _is_absent(point, error):
                raise
        else:
            register(app)


def _is_absent(point: EntryPoint, error: ModuleNotFoundError) -> bool:
    """Whether the module of the entry point, or a package above it, is what was not found."""
    return error.name is not None and f"{point.module}.".startswith(f"{error.name}.")
