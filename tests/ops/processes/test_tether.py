"""A child ends when its owner does, and can always be asked to stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil

from ops.processes import tether
from tests.support.processes import python, still_there, wait_until

SLEEPER = [sys.executable, "-c", "import time; print('awake', flush=True); time.sleep(600)"]

# Told only once the child runs its program: before that it would end for another reason.
OWNER = """
import os, signal, subprocess, sys, threading, time
from pathlib import Path
from ops.processes import tether
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
child = tether.spawn(
    [sys.executable, "-c", "import time; print(flush=True); time.sleep(600)"],
    cwd=Path.cwd(), env=os.environ, output=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
sys.stdin.readline()
print(tether.stop(child, first=signal.SIGTERM, grace_s=10), flush=True)
"""


def test_a_child_ends_when_its_owner_is_killed() -> None:
    owner = python(OWNER)
    assert owner.stdout is not None
    child = psutil.Process(int(owner.stdout.readline()))
    owner.kill()
    owner.communicate()
    assert still_there([child]) == []


def test_a_child_stands_as_far_behind_as_it_is_told() -> None:
    child = tether.spawn(SLEEPER, cwd=Path.cwd(), env=os.environ, output=subprocess.PIPE, niceness=3)
    assert child.stdout is not None
    assert child.stdout.readline() == b"awake\n"
    behind = os.nice(0) + 3
    assert psutil.Process(child.pid).nice() == behind
    autogroup = Path(f"/proc/{child.pid}/autogroup")
    if autogroup.exists():
        assert autogroup.read_text().endswith(f" nice {behind}\n")
    tether.stop(child, first=signal.SIGTERM, grace_s=10)


def test_a_child_outlives_the_thread_that_asked_for_it() -> None:
    children: list[subprocess.Popen[bytes]] = []

    def ask() -> None:
        child = tether.spawn(
            SLEEPER, cwd=Path.cwd(), env=os.environ, output=subprocess.PIPE, death_signal=signal.SIGKILL
        )
        assert child.stdout is not None
        assert child.stdout.readline() == b"awake\n"
        children.append(child)

    thread = threading.Thread(target=ask)
    thread.start()
    thread_in_kernel = Path(f"/proc/self/task/{thread.native_id}")
    thread.join()
    wait_until(lambda: not thread_in_kernel.exists(), "the end of the thread")
    [child] = children
    assert tether.stop(child, first=signal.SIGTERM, grace_s=30)
    assert child.returncode == -signal.SIGTERM, "not killed by the end of the thread"


def test_a_child_of_an_owner_that_ignores_and_blocks_signals_can_be_asked_to_stop() -> None:
    owner = python(OWNER)
    told, _ = owner.communicate("stop it\n", timeout=60)
    assert told.splitlines()[1] == "True"


def test_a_child_that_does_not_listen_is_killed() -> None:
    deaf = "import signal as s, time; s.signal(s.SIGTERM, s.SIG_IGN); print(flush=True); time.sleep(600)"
    child = tether.spawn([sys.executable, "-c", deaf], cwd=Path.cwd(), env=os.environ, output=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    assert not tether.stop(child, first=signal.SIGTERM, grace_s=0.1)
    assert child.returncode == -signal.SIGKILL


def test_a_program_that_is_not_there_says_so() -> None:
    child = tether.spawn(["/no/such/program"], cwd=Path.cwd(), env=os.environ, output=subprocess.PIPE)
    output, _ = child.communicate()
    assert child.returncode == 126
    assert b"cannot run /no/such/program" in output
