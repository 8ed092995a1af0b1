"""A child ends when its owner does, and can always be asked to stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil

from ops import tether
from tests.embedded.processes import python, still_there

SLEEPER = [sys.executable, "-c", "import time; print('awake', flush=True); time.sleep(600)"]

OWNER = """
import os, subprocess, sys, threading, time
from pathlib import Path
from ops import tether
children = []
def launch():
    children.append(tether.spawn(
        [sys.executable, "-c", "import time; time.sleep(600)"],
        cwd=Path.cwd(), env=os.environ, output=subprocess.DEVNULL))
thread = threading.Thread(target=launch)
thread.start(); thread.join()
print(children[0].pid, flush=True)
time.sleep(600)
"""


def spawn_sleeper() -> subprocess.Popen[bytes]:
    child = tether.spawn(SLEEPER, cwd=Path.cwd(), env=os.environ, output=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"awake\n"
    return child


def test_a_child_ends_when_its_owner_is_killed() -> None:
    owner = python(OWNER)
    assert owner.stdout is not None
    child = psutil.Process(int(owner.stdout.readline()))
    owner.kill()
    owner.communicate()
    assert still_there([child]) == []


def test_a_child_outlives_the_thread_that_asked_for_it() -> None:
    children: list[subprocess.Popen[bytes]] = []
    thread = threading.Thread(target=lambda: children.append(spawn_sleeper()))
    thread.start()
    thread.join()
    [child] = children
    assert child.poll() is None
    assert tether.stop(child, first=signal.SIGTERM, grace_s=30)
    assert child.returncode == -signal.SIGTERM


def test_a_child_of_an_owner_that_ignores_signals_can_be_asked_to_stop() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        child = spawn_sleeper()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        signal.signal(signal.SIGTERM, before)
    assert tether.stop(child, first=signal.SIGTERM, grace_s=30)


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
