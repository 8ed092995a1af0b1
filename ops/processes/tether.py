"""Child processes that end when their owner does, even when the owner is killed with SIGKILL.

Linux sends a child its parent-death signal when the *thread* that forked it ends, not the process. Every fork
therefore happens on one thread of this module that lives as long as the process.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

_LAUNCHER = Path(__file__).with_name("tethered_exec.py")


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the machine that a child runs as."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class _Order:
    argv: Sequence[str]
    cwd: Path
    env: Mapping[str, str]
    output: int
    inherited_fds: Sequence[int]
    born: Future[subprocess.Popen[bytes]]


class _Forker:
    def __init__(self) -> None:
        self._orders: queue.SimpleQueue[_Order] = queue.SimpleQueue()
        threading.Thread(target=self._serve, name="tether-forker", daemon=True).start()

    def fork(self, order: _Order) -> subprocess.Popen[bytes]:
        self._orders.put(order)
        return order.born.result()

    def _serve(self) -> None:
        while True:
            order = self._orders.get()
            try:
                child = subprocess.Popen(
                    order.argv,
                    cwd=order.cwd,
                    env=dict(order.env),
                    stdin=subprocess.DEVNULL,
                    stdout=order.output,
                    stderr=subprocess.STDOUT,
                    pass_fds=tuple(order.inherited_fds),
                )
            except BaseException as error:
                order.born.set_exception(error)
            else:
                order.born.set_result(child)


_forker_lock = threading.Lock()
_forkers: dict[int, _Forker] = {}


def _forker() -> _Forker:
    with _forker_lock:
        # By pid, because a forked copy of this process has no copy of the thread.
        if os.getpid() not in _forkers:
            _forkers[os.getpid()] = _Forker()
        return _forkers[os.getpid()]


def spawn(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    output: int,
    death_signal: signal.Signals = signal.SIGTERM,
    run_as: Account | None = None,
    niceness: int = 0,
    inherited_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Starts `argv` in a session of its own, tied to this process's life.

    `output` is a file descriptor (or subprocess.PIPE) for stdout and stderr together. `death_signal` is what
    the child gets when this process is gone. `niceness` comes on top of this process's own. Raises OSError
    when no process can be made; a program that cannot be run shows as an exit status of 126, with the reason
    in its output.
    """
    uid, gid = ("-", "-") if run_as is None else (str(run_as.uid), str(run_as.gid))
    launcher = [
        sys.executable,
        "-I",
        "-S",
        str(_LAUNCHER),
        str(os.getpid()),
        str(int(death_signal)),
        str(niceness),
        uid,
        gid,
    ]
    order = _Order([*launcher, *argv], cwd, env, output, inherited_fds, Future())
    return _forker().fork(order)


def stop(child: subprocess.Popen[bytes], *, first: signal.Signals, grace_s: float) -> bool:
    """Asks with `first`, waits `grace_s`, then kills. Returns whether asking was enough."""
    if child.poll() is not None:
        return True
    child.send_signal(first)
    try:
        child.wait(grace_s)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
        return False
    return True
