"""The assumption of the capacity model is judged by CPU per completion."""

from __future__ import annotations

from benchmarks.measure.machine import Machine
from benchmarks.plans import Workers
from benchmarks.report.text import text
from benchmarks.scenarios.workers import summary

HEAD = {
    "kind": "workers",
    "at": "",
    "commit": "",
    "machine": Machine("CPU", 2, 16.0, "Linux", "3.11", 0.1),
}


def run(cpu_us: float) -> dict[str, float]:
    return {"cpu_us_per_completion": cpu_us, "completions_per_s": 5000.0, "busiest_ratio": 1.0}


def test_the_assumption_holds_while_cpu_per_completion_stays() -> None:
    result = summary(HEAD, Workers(), {1: [run(100.0)] * 3, 4: [run(110.0), run(115.0), run(115.0)]})

    assert (result.ok, result.ratio) == (True, 1.15)
    assert result.shared["4 workers"]["cpu_us_per_completion"].median == 115.0
    assert text(result).splitlines()[-1].split() == ["ok", "yes"]


def test_the_assumption_does_not_hold_where_a_completion_costs_more_with_more_workers() -> None:
    result = summary(HEAD, Workers(), {1: [run(100.0)], 4: [run(130.0)]})

    assert not result.ok
    assert text(result).splitlines()[-1].split() == ["ok", "NO"]
