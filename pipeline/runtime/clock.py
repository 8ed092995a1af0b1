"""The wall clock of a process. Without an offset file it is the system's clock, at no cost.

`QUIZSTREAM_CLOCK_OFFSET_FILE` names a file with a number of seconds that is added to the clock while the file
exists. Only fault runs set it. Monotonic clocks are not affected.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path

VARIABLE = "QUIZSTREAM_CLOCK_OFFSET_FILE"


def clock_ns(env: Mapping[str, str] = os.environ) -> Callable[[], int]:
    """A function for nanoseconds since the epoch: the system's clock unless the variable is set."""
    file = env.get(VARIABLE)
    return _with_offset(Path(file)) if file else time.time_ns


def _with_offset(file: Path) -> Callable[[], int]:
    def offset_ns() -> int:
        return time.time_ns() + round(_offset_s(file) * 1e9)

    return offset_ns


def _offset_s(file: Path) -> float:
    """0 where there is no file, or one that is being written."""
    try:
        return float(file.read_text())
    except (OSError, ValueError):
        return 0.0


_now_ns = clock_ns()


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return _now_ns() // 1_000_000


def now_s() -> float:
    """Seconds since the epoch."""
    return _now_ns() / 1e9


def today() -> date:
    """The day in UTC."""
    return datetime.fromtimestamp(now_s(), UTC).date()
