"""Evaluates expressions on real scrapes with the engine of Prometheus, in simulated time (`promtool`).

A `Run` is a quiet time and then a condition that goes on: gauges keep the last value that was scraped,
counters keep growing as they did between the last two scrapes.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.scrapes import Scrape, Series

STEP_S = 15
QUIET_STEPS = 80  # twenty minutes: longer than every range that looks for a series without a past
SCRAPE_STEPS = 4  # how long each scrape but the last stays the newest one
NAME = re.compile(r"\b(?:quizstream_\w+|process_\w+|up)\b")


@dataclass(frozen=True)
class Run:
    """`before`: nothing is wrong, None where nothing ran. `during`: scrapes while the condition holds."""

    before: Scrape | None
    during: tuple[Scrape, ...]

    @property
    def last(self) -> Scrape:
        return self.during[-1]


@dataclass(frozen=True)
class Expected:
    """`expr` has data (or none) `after_s` from the last scrape; in the quiet time where that is negative."""

    name: str
    expr: str
    run: Run
    after_s: int
    data: bool = True
    inputs: str = ""  # the expression whose metrics are needed, where `expr` does not name them

    @property
    def at_s(self) -> int:
        """From the beginning of the quiet time."""
        scrapes_s = (len(self.run.during) - 1) * SCRAPE_STEPS * STEP_S if self.after_s > 0 else 0
        return QUIET_STEPS * STEP_S + self.after_s + scrapes_s


def require_promtool() -> str:
    """Its path. Skips on a laptop without it, and fails in CI."""
    found = shutil.which("promtool")
    if found is None:
        said = "promtool is not installed (Debian: apt install prometheus): the expressions are not evaluated"
        if os.environ.get("CI"):
            pytest.fail(said)
        pytest.skip(said)
    return found


def evaluate(rules: Path, expectations: Sequence[Expected], folder: Path) -> str:
    """What promtool says about expectations that do not hold; empty if all do."""
    promtool = require_promtool()
    together: dict[tuple[int, int], list[Expected]] = {}
    for one in expectations:
        together.setdefault((id(one.run), one.at_s), []).append(one)
    # Each test of promtool evaluates every rule at every step: one test for all that share a run and a time.
    tests = [_test(same) for same in together.values()]
    file = folder / "expressions.json"
    document = {"rule_files": [str(rules)], "evaluation_interval": f"{STEP_S}s", "tests": tests}
    file.write_text(yaml.safe_dump(document))
    ran = subprocess.run([promtool, "test", "rules", str(file)], capture_output=True, text=True)
    return "" if ran.returncode == 0 else ran.stdout + ran.stderr


def _test(together: Sequence[Expected]) -> dict[str, Any]:
    run, at_s = together[0].run, together[0].at_s
    names = {name for one in together for name in NAME.findall(one.inputs or one.expr)}
    return {
        "name": "; ".join(one.name for one in together),
        "interval": f"{STEP_S}s",
        "input_series": _input(run, names, math.ceil(at_s / STEP_S) + 1),
        "promql_expr_test": [
            {
                "expr": f"clamp_max(count({one.expr}), 1)",
                "eval_time": f"{at_s}s",
                "exp_samples": [{"labels": "{}", "value": 1}] if one.data else [],
            }
            for one in together
        ],
    }


def _input(run: Run, names: set[str], steps: int) -> list[dict[str, str]]:
    scrapes = run.during if run.before is None else (run.before, *run.during)
    every = {series: None for one in scrapes for series in one.values if series[0] in names}
    return [{"series": _shown(series), "values": _values(run, series, steps)} for series in every]


def _values(run: Run, series: Series, steps: int) -> str:
    *first, last = run.during
    left = max(2, steps - QUIET_STEPS - SCRAPE_STEPS * len(first))
    phases = [(run.before, QUIET_STEPS), *((one, SCRAPE_STEPS) for one in first), (last, left)]
    parts, present = [], False
    for scrape, length in phases:
        value = None if scrape is None else scrape.values.get(series)
        if value is not None and not math.isnan(value):
            growth = _growth(run, series) if scrape is last else 0.0
            parts.append(f"{value!r}+{growth!r}x{length - 1}")
            present = True
        else:
            # What a target does not show any more ends at once, as Prometheus marks it.
            parts.append(f"stale _x{length - 1}" if present else f"_x{length}")
            present = False
    return " ".join(parts)


def _growth(run: Run, series: Series) -> float:
    """Of a step, while the condition goes on."""
    if len(run.during) < 2 or series not in run.last.counters:
        return 0.0
    return max(0.0, run.last.values[series] - run.during[-2].values.get(series, 0.0))


def _shown(series: Series) -> str:
    name, labels = series
    return f"{name}{{{', '.join(f'{key}={json.dumps(value)}' for key, value in labels)}}}"
