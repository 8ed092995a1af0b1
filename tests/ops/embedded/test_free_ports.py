"""What tests listen on: two that look for ports at the same time must not find the same ones."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from tests.support.ports import BLOCK_PORTS, free_ports

PROCESSES = 4
TAKE_ALL = (
    "from tests.support.ports import free_ports\n"
    "print(*{free_ports().base for _ in range(40)}, flush=True)\n"
    "input()\n"  # a range is let go when its process ends
)


def test_processes_at_once_find_different_ports() -> None:
    with ExitStack() as ending:
        processes = [
            ending.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", TAKE_ALL],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for _ in range(PROCESSES)
        ]
        with ThreadPoolExecutor(PROCESSES) as pool:
            found = [set(map(int, line.split())) for line in pool.map(_first_line, processes)]
        for process in processes:
            process.communicate("\n")
    assert all(found)
    assert len(set().union(*found)) == sum(map(len, found))


def test_what_is_given_again_comes_after_all_others() -> None:
    first = free_ports(blocks=2).base
    assert {free_ports().base for _ in range(5)}.isdisjoint({first, first + BLOCK_PORTS})


def _first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()
