"""Watching processes end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

GONE_TIMEOUT_S = 60.0  # a limit against hanging, not an expectation


def descendants(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def still_there(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that have not ended when the time is up."""
    _gone, alive = psutil.wait_procs(processes, timeout=GONE_TIMEOUT_S)
    return [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def python(code: str, *arguments: str) -> subprocess.Popen[str]:
    """A Python process that can import the project, its stdin and stdout pipes."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def wait_until(come: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + GONE_TIMEOUT_S
    while not come():
        assert time.monotonic() < deadline, f"{what} never came"
        time.sleep(0.02)
