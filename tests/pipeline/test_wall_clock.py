"""The clock that a fault run can set wrong."""

from __future__ import annotations

import time
from pathlib import Path

from pipeline.runtime.clock import VARIABLE, clock_ns

HOUR_NS = 3_600 * 10**9


def test_unsteered_it_is_the_systems_own() -> None:
    assert clock_ns({}) is time.time_ns


def test_it_is_wrong_for_as_long_as_the_file_says_so(tmp_path: Path) -> None:
    file = tmp_path / "offset"
    now_ns = clock_ns({VARIABLE: str(file)})
    assert abs(now_ns() - time.time_ns()) < HOUR_NS
    file.write_text("-7200")
    assert HOUR_NS < time.time_ns() - now_ns() < 3 * HOUR_NS
    file.write_text("7200.5\n")
    assert HOUR_NS < now_ns() - time.time_ns() < 3 * HOUR_NS
    file.write_text("half wri")
    assert abs(now_ns() - time.time_ns()) < HOUR_NS
    file.unlink()
    assert abs(now_ns() - time.time_ns()) < HOUR_NS
