"""Starts and stops a deployment in the background."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time

import psutil

from ops.deployment.prepare import DEMO_OPTION
from ops.embedded.home import Home
from ops.exits import CANNOT
from pipeline.errors import CannotStart
from pipeline.runtime.settings import Settings

STOP_TIMEOUT_S = 60.0
POLL_S = 0.1
READY = "ready"


def start(brokers: int | None = None, *, demo: bool = False, edges: int = 1) -> int:
    """Start everything and show the progress; return 0 once all is ready. It outlives this process.

    `brokers` of an embedded Kafka: 1 or 3; None for the number that the home was created with. `edges`: the
    number of edge processes.
    """
    home = Home(Settings.from_env().home)
    home.prepare()
    log = home.logs / "up.log"
    options = [
        *([] if brokers is None else ["--brokers", str(brokers)]),
        *([DEMO_OPTION] if demo else []),
        *("--edges", str(edges)),
    ]
    with log.open("ab") as errors:
        child = subprocess.Popen(
            [sys.executable, "-m", "ops.deployment.up", *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,  # the terminal's Ctrl-C and hang-up must not reach it
            text=True,
        )
    assert child.stdout is not None
    try:
        for line in child.stdout:
            if line.strip() == READY:
                print("Everything is ready. `quizstream down` stops it.")
                return 0
            print(line, end="", flush=True)
    except KeyboardInterrupt:
        child.send_signal(signal.SIGTERM)
        child.wait()
        raise
    status = child.wait()
    if status != CANNOT:  # that process has printed the reason
        print(f"The start failed: see {log}", file=sys.stderr)
    return status or CANNOT


def stop() -> int:
    """Stop the owner of the home; return 0 once it and its children have ended. Raises CannotStart."""
    home = Home(Settings.from_env().home)
    owner_pid = home.owner_pid()
    if not home.path.exists() or owner_pid is None or not _in_use(home):
        print("Nothing runs here.")
        return 0
    if not _ours(owner_pid):
        raise CannotStart(
            f"Process {owner_pid} has ended, its servers are still stopping: repeat the command in a moment."
        )
    os.kill(owner_pid, signal.SIGTERM)
    deadline_s = time.monotonic() + STOP_TIMEOUT_S
    while _in_use(home):
        if time.monotonic() > deadline_s:
            raise CannotStart(f"Process {owner_pid} did not stop in {STOP_TIMEOUT_S:.0f} s: see {home.logs}.")
        time.sleep(POLL_S)
    print("Stopped.")
    return 0


def _in_use(home: Home) -> bool:
    """Return whether a process holds the home's lock; this check releases the lock at once."""
    try:
        descriptor = os.open(home.lock_file, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _ours(pid: int) -> bool:
    """Return whether the pid is a running Python process: the pid in a file may have been reused."""
    try:
        return "python" in psutil.Process(pid).name().lower() or "quizstream" in psutil.Process(pid).name()
    except psutil.Error:
        return False
