"""The assumption of the capacity model is judged by CPU per completion."""

from __future__ import annotations

from benchmarks.measure.machine import Machine
from benchmarks.report.text import text
from benchmarks.scenarios.workers import Run, summary

HEAD = {
    "kind": "workers",
    "at": "",
    "commit": "",
    "machine": Machine("CPU", 2, 16.0, "Linux", "3.11", 0.1),
}


def test_the_assumption_holds_while_cpu_a_completion_stays() -> None:
    runs = {1: [Run(100.0, 5000.0, 1.0)] * 3, 4: [Run(110.0, 5500.0, 1.1), *[Run(115.0, 5500.0, 1.1)] * 2]}
    result = summary(HEAD, runs, 1000, 3)

    assert (result.ok, result.ratio) == (True, 1.15)
    assert result.shared[0].completions_per_cpu_s.median == 10_000
    assert text(result).splitlines()[-1].split() == ["ok", "yes"]


def test_the_assumption_does_not_hold_where_workers_make_each_other_dearer() -> None:
    runs = {1: [Run(100.0, 5000.0, 1.0)], 4: [Run(130.0, 5500.0, 1.1)]}
    result = summary(HEAD, runs, 1000, 1)

    assert not result.ok
    assert text(result).splitlines()[-1].split() == ["ok", "NO"]
