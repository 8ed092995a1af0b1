"""Two checkouts take turns, and the ratio is of each round."""

from __future__ import annotations

import stat
from pathlib import Path

import msgspec
import pytest

from benchmarks.measure.checks import CheckFailed
from benchmarks.plans import Compare
from benchmarks.scenarios import compare
from pipeline.errors import CannotStart

LINE = """#!/bin/sh
echo "$0 $*" >> {log}
echo '{result}'
exit {code}
"""


def checkout(folder: Path, log: Path, cpu_us: float, code: int = 0, lost: int = 0) -> Path:
    """With a `quizstream` that only prints a result; it has the fields of commit 121a306 and more."""
    result = {
        "kind": "e2e",
        "commit": folder.name,
        "drained_per_s": 100.0,
        "offered_per_s": 100.0,
        "ack_ms": {"count": 1, "p50": 1.0, "p99": 2.0, "max": 3.0},
        "lost": lost,
        "twice": 0,
        "cpu_s": {"edge": 1.0},
        "cpu_us_per_completion": cpu_us,
        "cores_used": 0.1,
        "retries": 0,
    }
    program = folder / ".venv" / "bin" / "quizstream"
    program.parent.mkdir(parents=True)
    program.write_text(LINE.format(log=log, result=msgspec.json.encode(result).decode(), code=code))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return folder


def run(own: Path, other: Path, monkeypatch: pytest.MonkeyPatch) -> compare.Result:
    monkeypatch.setattr(compare, "CHECKOUT", own)
    return compare.measure(Compare(str(other), 100.0, 1.0, 1.0), lambda _line: None)


def test_sides_take_turns_in_alternating_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    own, other = checkout(tmp_path / "own", log, 500.0), checkout(tmp_path / "other", log, 1000.0)
    result = run(own, other, monkeypatch)

    order = [Path(line.split()[0]).parents[2].name for line in log.read_text().splitlines()]
    assert order == ["own", "other", "other", "own", "own", "other"]
    assert "bench e2e --rate=100.0 --seconds=1.0" in log.read_text()
    assert result.ratios == [0.5, 0.5, 0.5]
    assert result.ratio.median == 0.5
    assert result.cpu_us_per_completion["B"].median == 1000.0


def test_a_side_that_lost_something_gives_no_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = checkout(tmp_path / "own", tmp_path / "log", 500.0)
    with pytest.raises(CheckFailed, match="lost 3"):
        run(own, checkout(tmp_path / "lossy", tmp_path / "log", 1.0, lost=3), monkeypatch)
    with pytest.raises(CheckFailed, match="ended with 1"):
        run(own, checkout(tmp_path / "failed", tmp_path / "log", 1.0, code=1), monkeypatch)


def test_a_checkout_without_its_environment_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = checkout(tmp_path / "own", tmp_path / "log", 500.0)
    with pytest.raises(CannotStart, match="make setup-test"):
        run(own, tmp_path / "missing", monkeypatch)
