"""What time it is, in the one place where a process asks. Free when unsteered.

`QUIZSTREAM_CLOCK_OFFSET_FILE` names a file that holds a number of seconds: by so much the clock of this
process is wrong, for as long as the file says so. Only fault runs set it. Monotonic clocks never jump.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path

VARIABLE = "QUIZSTREAM_CLOCK_OFFSET_FILE"


def clock_ns(env: Mapping[str, str] = os.environ) -> Callable[[], int]:
    """Nanoseconds since the epoch: the system's own clock unless the variable is set."""
    file = env.get(VARIABLE)
    return _steered(Path(file)) if file else time.time_ns


def _steered(file: Path) -> Callable[[], int]:
    def wrong_ns() -> int:
        return time.time_ns() + round(_offset_s(file) * 1e9)

    return wrong_ns


def _offset_s(file: Path) -> float:
    """No file, or one that is being written: the clock is right."""
    try:
        return float(file.read_text())
    except (OSError, ValueError):
        return 0.0


_now_ns = clock_ns()


def now_ms() -> int:
    """Since the epoch."""
    return _now_ns() // 1_000_000


def now_s() -> float:
    """Since the epoch."""
    return _now_ns() / 1e9


def today() -> date:
    """In UTC."""
    return datetime.fromtimestamp(now_s(), UTC).date()
