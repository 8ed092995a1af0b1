"""How many Python calls a completion costs: a figure that no clock and no busy machine can change.

Calls are what the interpreter is slow at, so work that creeps into the hot path shows here. What C code does
inside one call does not; the timed benchmarks are for that.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from types import FrameType


def python_calls(act: Callable[[], object]) -> int:
    """Calls of functions written in Python while `act` runs, in this thread; `act` itself is not counted."""
    calls = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    before, collects = sys.getprofile(), gc.isenabled()
    gc.disable()  # a collection calls what has registered for it, as prometheus-client does
    sys.setprofile(count)
    try:
        act()
    finally:
        sys.setprofile(before)
        if collects:
            gc.enable()
    return calls - 1
