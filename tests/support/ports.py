"""Ports for what a test starts: no two test processes are given the same ones, however many run at once.

To look whether a port is free and then to use it leaves a gap in which another process does the same, and a
test then talks to the simulator of another. So each process has a range of its own, locked while it lives.
"""

from __future__ import annotations

import dataclasses
import fcntl
import functools
import os
import random
import tempfile
from pathlib import Path

from ops.embedded.port_check import require_free
from pipeline.errors import CannotStart
from pipeline.runtime.ports import Ports

BLOCK_PORTS = 100  # what one home takes
RANGE_PORTS = 2_000
RANGES = range(10_000, 32_000, RANGE_PORTS)  # outgoing connections are given ports from 32768 on


@dataclasses.dataclass
class _Range:
    bases: range
    lock: int  # a descriptor: open, and so locked, until the process ends
    turn: int = 0

    def next_base(self) -> int:
        self.turn += 1
        return self.bases[self.turn % len(self.bases)]


def free_ports(blocks: int = 1) -> Ports:
    """Ports of a base from which as many blocks are free; the same ones come again only after all others.

    Raises CannotStart when there are none.
    """
    own = _own_range()
    for _ in own.bases:
        base = own.next_base()
        wanted = range(base, base + blocks * BLOCK_PORTS, BLOCK_PORTS)
        if wanted[-1] in own.bases and all(_is_free(Ports.from_base(one)) for one in wanted):
            own.turn += blocks - 1
            return Ports.from_base(base)
    raise CannotStart(f"{blocks * BLOCK_PORTS} ports in a row are not free in {own.bases}.")


@functools.cache
def _own_range() -> _Range:
    folder = Path(tempfile.gettempdir()) / f"quizstream-test-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    for start in random.sample(RANGES, len(RANGES)):
        lock = os.open(folder / str(start), os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        return _Range(range(start, start + RANGE_PORTS, BLOCK_PORTS), lock)
    raise CannotStart(f"{len(RANGES)} test processes run at once: there are no ports for more.")


def _is_free(ports: Ports) -> bool:
    try:
        for port in dataclasses.astuple(ports):
            require_free(port, "a test")
    except CannotStart:
        return False
    return True
