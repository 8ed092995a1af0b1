"""A result as text: every field by its name in the JSON, without the bulk of single rounds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from benchmarks.measure.figures import Percentiles, Spread
from benchmarks.measure.machine import Machine, Measured

JSON_ONLY = frozenset({*Measured.__struct_fields__, "turns", "rounds_of", "progress"})
LABEL_CHARS = 34


def text(result: Measured) -> str:
    fields = [(name, value) for name, value in _items(result) if name not in JSON_ONLY]
    lines = [f"{result.kind}: {where(result.machine)}, commit {result.commit or 'unknown'}, {result.at}"]
    return "\n".join([*lines, *_lines(fields, 0)])


def where(machine: Machine) -> str:
    return (
        f"{machine.cpu}, {machine.cores} cores, {machine.memory_gib:g} GiB, Python {machine.python}, "
        f"load before {machine.load_1m:g}"
    )


def _lines(items: Iterable[tuple[str, object]], indent: int) -> Iterator[str]:
    for name, value in items:
        pad = " " * indent
        shown = _shown(name, value)
        if shown is not None:
            yield f"{pad}{name:<{LABEL_CHARS - indent}} {shown}"
        elif isinstance(value, list):
            for position, each in enumerate(value, 1):
                yield f"{pad}{name} {position}"
                yield from _lines(_items(each), indent + 2)
        else:
            yield f"{pad}{name}"
            yield from _lines(_items(value), indent + 2)


def _items(of: object) -> list[tuple[str, object]]:
    if isinstance(of, Mapping):
        return [(str(name), value) for name, value in of.items()]
    assert isinstance(of, msgspec.Struct)
    return [(name, getattr(of, name)) for name in of.__struct_fields__]


def _shown(name: str, value: object) -> str | None:
    """On one line; None for a value with lines of its own."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "NO"
        case int() | float():
            return f"{value:,}"
        case str():
            return value
        case Spread():
            return f"{value.median:,} ({value.min:,} to {value.max:,})"
        case Percentiles():
            figures = ((each, getattr(value, each)) for each in ("p50", "p99", "max"))
            return ", ".join(f"{each} {'-' if ms is None else f'{ms:,}'} ms" for each, ms in figures)
        case list() if not any(isinstance(each, msgspec.Struct) for each in value):
            return ", ".join(_shown(name, each) or "" for each in value)
    return None
