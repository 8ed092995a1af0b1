"""The product imports and runs without the packages that the production image does not hold."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[3]

# Raises for the packages as an image without them would.
BLOCKED = """
import importlib.abc, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        for package in ("ops.simulator", "ops.chaos", "benchmarks", "tests"):
            if f"{name}.".startswith(f"{package}."):
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None

sys.meta_path.insert(0, Absent())
"""

IMPORT_ALL = """
import importlib, pathlib
absent = ("ops/simulator", "ops/chaos")
for package in ("schemas", "pipeline", "ingest_api", "sinks", "ops"):
    for path in sorted(pathlib.Path(package).rglob("*.py")):
        if not str(path).startswith(absent) and path.name != "__main__.py":
            importlib.import_module(".".join(path.with_suffix("").parts).removesuffix(".__init__"))
"""

RUN = "from ops.cli import main; main()"


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BLOCKED + code, *arguments],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_every_module_of_the_product_imports_without_them() -> None:
    done = python(IMPORT_ALL)
    assert done.returncode == 0, done.stderr


def test_the_command_line_works_without_their_commands() -> None:
    done = python(RUN, "--help")
    assert done.returncode == 0, done.stderr
    assert "reconcile" in done.stdout
    for absent in ("chaos", "bench"):
        assert f" {absent} " not in done.stdout


def test_the_simulator_is_named_as_missing_in_one_line() -> None:
    done = python(RUN, "process", "simulator")
    assert done.returncode == 2
    assert done.stderr.strip() == (
        "quizstream: simulator is not part of this image: use the development image."
    )
