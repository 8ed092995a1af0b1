"""A reader of the text gets the figures of the JSON, by the same names."""

from __future__ import annotations

from benchmarks.report.text import text
from tests.benchmarks.report.test_pages import RESULT


def test_figures_and_missed_targets_are_shown() -> None:
    lines = {line.strip().rsplit("  ", 1)[0].strip(): line for line in text(RESULT).splitlines()}
    assert "e2e: A <fast> CPU & more, 2 cores" in text(RESULT).splitlines()[0]
    assert "commit abcdef0" in text(RESULT).splitlines()[0]
    assert "p50 4.5 ms, p99 41.0 ms, max 1,234.5 ms" in text(RESULT)
    assert lines["kafka"].endswith("300.0")
    assert "backlog flat" in text(RESULT)
    assert text(RESULT).splitlines()[-1].split() == ["backlog", "flat", "NO"]
