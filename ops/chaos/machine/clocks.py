"""Shifts the wall clocks of processes, through the offset file that each process reads."""

from __future__ import annotations

import time
from pathlib import Path

from pipeline.runtime.clock import VARIABLE

AWAY_S = (30.0, 600.0)
# Messages of an edge ahead of time are due only when the other clocks get there, and the run waits for them.
EDGE_AHEAD_S = (5.0, 25.0)


def offset_s(process: str, size: float) -> float:
    """Return the offset: `size` below one half is back, above it ahead, in proportion to the distance."""
    least, most = EDGE_AHEAD_S if process == "edge" and size >= 0.5 else AWAY_S
    away_s = least + (most - least) * abs(2 * size - 1)
    return round(away_s if size >= 0.5 else -away_s, 1)


class Clocks:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def env(self, process: str) -> dict[str, str]:
        return {VARIABLE: str(self._folder / process)}

    def wrong_for(self, process: str, by_s: float, seconds: float) -> bool:
        """Shift the clock for that time; return whether the process read it meanwhile.

        False also if the file system records no access times.
        """
        file = self._folder / process
        file.write_text(f"{by_s}\n")
        written = file.stat()
        try:
            time.sleep(seconds)
            return file.stat().st_atime_ns > written.st_mtime_ns
        finally:
            file.unlink()
