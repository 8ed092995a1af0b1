"""Where and of what a result is: a number without its machine and commit says nothing."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import msgspec


class Machine(msgspec.Struct, frozen=True):
    """`load_1m`: processes that wanted a core before the run began; of an idle machine it is about 0."""

    cpu: str
    cores: int
    memory_gib: float
    system: str
    python: str
    load_1m: float


def machine() -> Machine:
    return Machine(
        cpu=_line("/proc/cpuinfo", "model name") or platform.processor(),
        cores=os.cpu_count() or 1,
        memory_gib=round(int((_line("/proc/meminfo", "MemTotal") or "0 kB").split()[0]) / 2**20, 1),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        load_1m=round(os.getloadavg()[0], 2),
    )


def commit() -> str:
    """Short hash; `+changes` where the checkout holds what is in no commit; empty without a checkout."""

    def git(*arguments: str) -> str:
        folder = Path(__file__).resolve().parent
        try:
            done = subprocess.run(
                ["git", *arguments], cwd=folder, capture_output=True, text=True, check=False
            )
        except OSError:
            return ""
        return done.stdout.strip()

    head = git("rev-parse", "--short", "HEAD")
    return head + ("+changes" if head and git("status", "--porcelain", "--untracked-files=no") else "")


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _line(path: str, name: str) -> str:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")
