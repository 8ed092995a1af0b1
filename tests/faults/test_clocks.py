"""How far a clock is set wrong, and that it is right again afterwards."""

from __future__ import annotations

import time
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ops.chaos.machine.clocks import AWAY_S, EDGE_AHEAD_S, Clocks, offset_s
from ops.chaos.schedule import CLOCKS
from pipeline.runtime.clock import clock_ns

sizes = st.floats(0, 1, exclude_max=True)


@given(st.sampled_from(CLOCKS), sizes)
def test_a_jump_is_half_a_minute_to_ten_minutes_either_way(process: str, size: float) -> None:
    by_s = offset_s(process, size)
    assert (by_s > 0) == (size >= 0.5)
    least, most = EDGE_AHEAD_S if process == "edge" and by_s > 0 else AWAY_S
    assert least <= abs(by_s) <= most


def test_a_clock_is_wrong_only_for_its_time(tmp_path: Path) -> None:
    clocks = Clocks(tmp_path / "clocks")
    now_ns = clock_ns(clocks.env("edge"))
    clocks.wrong_for("edge", 3600.0, 0.0)
    assert abs(now_ns() - time.time_ns()) < 60 * 10**9
    assert clock_ns(clocks.env("edge")) is not clock_ns({})
