"""Head of every result: a number means nothing without its machine and its commit."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

CHECKOUT = Path(__file__).resolve().parents[2]
TOPOLOGY = CHECKOUT / "topology.yaml"


class Machine(msgspec.Struct, frozen=True):
    """`load_1m`: processes that needed a core before the run began; about 0 on an idle machine."""

    cpu: str
    cores: int
    memory_gib: float
    system: str
    python: str
    load_1m: float


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """Base of every result. `at`: when the measurement began. `commit`: the code that ran."""

    kind: str
    at: str
    commit: str
    machine: Machine


def begin(kind: str) -> dict[str, Any]:
    """The fields of `Measured`; call it before the measurement, so that `load_1m` is the load before it."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"kind": kind, "at": now, "commit": commit(CHECKOUT), "machine": machine()}


def machine() -> Machine:
    return Machine(
        cpu=_line("/proc/cpuinfo", "model name") or platform.processor(),
        cores=os.cpu_count() or 1,
        memory_gib=round(int((_line("/proc/meminfo", "MemTotal") or "0 kB").split()[0]) / 2**20, 1),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        load_1m=round(os.getloadavg()[0], 2),
    )


def commit(checkout: Path) -> str:
    """Short hash; `+changes` where tracked files differ from it; empty without a repository."""

    def git(*arguments: str) -> str:
        command = ["git", *arguments]
        try:
            done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
        except OSError:
            return ""
        return done.stdout.strip()

    head = git("rev-parse", "--short", "HEAD")
    return head + ("+changes" if head and git("status", "--porcelain", "--untracked-files=no") else "")


def _line(path: str, name: str) -> str:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")
