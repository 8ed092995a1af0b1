"""What is said of workers together is what each of them said; the claim is judged by CPU a completion."""

from __future__ import annotations

from benchmarks.machine import Machine
from benchmarks.workers import Run, _result, text

SOME = Machine("CPU", 2, 16.0, "Linux", "3.11", 0.1)


def test_the_claim_holds_while_cpu_a_completion_stays() -> None:
    runs = {1: [Run(100.0, 5000.0, 1.0)] * 3, 4: [Run(110.0, 5500.0, 1.1), *[Run(115.0, 5500.0, 1.1)] * 2]}
    result = _result(runs, 1000, 3, SOME, "")

    assert (result.ok, result.ratio) == (True, 1.15)
    assert result.shared[0].completions_per_cpu_s.median == 10_000
    assert "the model's claim holds" in text(result)


def test_the_claim_does_not_hold_where_workers_make_each_other_dearer() -> None:
    runs = {1: [Run(100.0, 5000.0, 1.0)], 4: [Run(130.0, 5500.0, 1.1)]}
    result = _result(runs, 1000, 1, SOME, "")

    assert not result.ok
    assert "DOES NOT HOLD" in text(result)
