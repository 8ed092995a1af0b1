"""The imports of the sources: no circle, no arrow upward, nothing for development in the product."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
SOURCE_FILES_MAX = 20  # of one folder

# An import goes to the same or a lower level; the two packages of one level do not import each other.
LEVELS = {"schemas": 0, "pipeline": 1, "ingest_api": 2, "sinks": 2, "ops": 3, "benchmarks": 4}
# The edge verifies and parses webhooks by the protocol that each provider's package implements.
EDGE_MAY_IMPORT = {"sinks.providers", "sinks.webhook"}
NEVER = {"sinks": ("ingest_api",), "ops": ("ingest_api",)}
DEVELOPMENT = ("ops.simulator", "ops.chaos", "benchmarks", "tests")

Edge = tuple[str, str]


@cache
def sources() -> dict[str, Path]:
    """Module -> file, of every package of the product and of the benchmarks."""
    found = {}
    for package in LEVELS:
        for path in (CHECKOUT / package).rglob("*.py"):
            parts = path.relative_to(CHECKOUT).with_suffix("").parts
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


@cache
def imports() -> frozenset[Edge]:
    """Importer and imported module, wherever in the file the import stands."""
    edges = set()
    for module, path in sources().items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for name in imported_names(node):
                if (name in sources() and name != module) or name.split(".")[0] == "tests":
                    edges.add((module, name))
    return frozenset(edges)


def imported_names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        members = [f"{node.module}.{alias.name}" for alias in node.names]
        return [member if member in sources() else node.module for member in members]
    return []


def folder(module: str) -> str:
    """The folder of a module; a module directly in a top-level package stands for itself."""
    if module not in sources():
        return module
    parts = sources()[module].relative_to(CHECKOUT).parts[:-1]
    return ".".join(parts) if len(parts) > 1 else module


def is_in(module: str, package: str) -> bool:
    return f"{module}.".startswith(f"{package}.")


def circles(edges: set[Edge]) -> set[frozenset[str]]:
    """Sets of nodes that reach each other."""
    after: dict[str, set[str]] = defaultdict(set)
    for source, target in edges:
        after[source].add(target)

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            for target in after.get(waiting.pop(), ()):
                if target not in seen:
                    seen.add(target)
                    waiting.append(target)
        return seen

    reach = {node: reached(node) for node in after}
    return {
        frozenset(other for other in reach[node] if node in reach.get(other, ()))
        for node in reach
        if node in reach[node]
    }


def test_a_circle_is_found() -> None:
    assert circles({("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")}) == {frozenset("abc")}
    assert circles({("a", "b"), ("b", "c"), ("a", "c")}) == set()


def test_the_graph_holds_imports_within_functions_too() -> None:
    assert ("ops.cli", "ops.errors") in imports()
    assert len(imports()) > 500


def test_folders_import_each_other_in_one_direction() -> None:
    edges = {(folder(source), folder(target)) for source, target in imports()}
    assert circles({(source, target) for source, target in edges if source != target}) == set()


def test_no_import_runs_upward() -> None:
    upward = set()
    for source, target in imports():
        low, high = source.split(".")[0], target.split(".")[0]
        if low == high or high == "tests" or (low == "ingest_api" and target in EDGE_MAY_IMPORT):
            continue
        if is_in(source, "ingest_api.tenants") and high == "sinks":  # it does what operators' commands do
            continue
        if LEVELS[high] >= LEVELS[low] or high in NEVER.get(low, ()):
            upward.add((source, high))
    assert upward == set()


def test_the_product_imports_nothing_that_is_for_development() -> None:
    found = {
        (source, package)
        for source, target in imports()
        for package in DEVELOPMENT
        if is_in(target, package) and not any(is_in(source, own) for own in DEVELOPMENT)
    }
    assert found == set()


@pytest.mark.parametrize("package", LEVELS)
def test_no_folder_is_too_full(package: str) -> None:
    files = [path for path in sources().values() if path.name != "__init__.py"]
    counts = Counter(str(path.parent.relative_to(CHECKOUT)) for path in files)
    full = {
        name for name, count in counts.items() if count > SOURCE_FILES_MAX and name.split("/")[0] == package
    }
    assert full == set()
