"""A child's output in a file that cannot fill the disk."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path

LOG_BYTES_MAX = 8 * 1024 * 1024  # per file; with the one kept generation a process has at most twice this
_READ_BYTES = 64 * 1024


class BoundedLog:
    """Copies a pipe into `path`; at `bytes_max` the file moves to `path.1` and a new one begins.

    `write_end` is given to the child. Keeps reading whatever happens to the disk, so that a full disk never
    blocks the child; what could not be written is counted in `dropped_bytes`.
    """

    def __init__(self, path: Path, bytes_max: int = LOG_BYTES_MAX) -> None:
        self._path = path
        self._bytes_max = bytes_max
        self.dropped_bytes = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._read_end, self.write_end = os.pipe()
        self._thread = threading.Thread(target=self._copy, name=f"log-{path.stem}", daemon=True)
        self._thread.start()

    def child_started(self) -> None:
        """Closes this process's own copy of the write end, so that the log ends with the child."""
        os.close(self.write_end)

    def join(self, timeout_s: float) -> None:
        """Waits until everything the child wrote is in the file."""
        self._thread.join(timeout_s)

    def _copy(self) -> None:
        with os.fdopen(self._read_end, "rb", buffering=0) as pipe:
            while chunk := pipe.read(_READ_BYTES):
                try:
                    self._append(chunk)
                except OSError:
                    self.dropped_bytes += len(chunk)

    def _append(self, chunk: bytes) -> None:
        if self._path.exists() and self._path.stat().st_size + len(chunk) > self._bytes_max:
            self._path.replace(self._path.with_name(self._path.name + ".1"))
        with self._path.open("ab") as file:
            file.write(chunk)


def last_lines(
    path: Path, lines_max: int = 3, bytes_max: int = 16 * 1024, having: Sequence[str] = ("",)
) -> str:
    """The last lines of a log that hold one of `having`, as one line for a message; empty without any."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - bytes_max))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join([line for line in lines if any(part in line for part in having)][-lines_max:])
