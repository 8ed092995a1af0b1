"""Programs of the project as processes of their own, forked from one that has imported what they need.

Most of the CPU of a command, and of a sender that calls ten times, is its imports. A program still has the
arguments, the environment and the streams that it is given, and is run as `python -m` would run it.
"""

from __future__ import annotations

import ast
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from select import poll
from typing import IO, Any, NamedTuple

CHECKOUT = Path(__file__).resolve().parents[2]
REQUEST_BYTES_MAX = 100_000
# What the interpreter reads once, at its start. Crash points are read at an import: who has some is no fork.
AT_START = ("LC_ALL", "LC_CTYPE", "LANG", "PYTHONUTF8", "PYTHONCOERCECLOCALE")
COMMANDS = "ops.cli"
PROCESSES = "ops.processes.table"
_parents: dict[tuple[str | None, ...], _Parent] = {}
_lock = threading.Lock()


class Forked:
    """A running program; what `subprocess.Popen` has of the same name."""

    def __init__(self, pid: int, reply: IO[str]) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._reply = reply
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        ended = self._ended(timeout)
        if ended is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
        return ended

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _ended(self, timeout_s: float | None) -> int | None:
        with self._lock:
            if self.returncode is None:
                waiting = poll()
                waiting.register(self._reply)
                if waiting.poll(None if timeout_s is None else timeout_s * 1000):
                    self.returncode = int(self._reply.readline())
                    self._reply.close()
            return self.returncode


def start(
    module: str,
    arguments: tuple[str, ...],
    env: Mapping[str, str],
    output: IO[bytes],
    errors: IO[bytes],
    *,
    cwd: Path | None = None,
    imports: tuple[str, ...] = (),
) -> Forked:
    """Returns once it runs; its streams may then be closed here. `imports`: what the module imports late."""
    request = {"module": module, "arguments": arguments, "env": dict(env), "cwd": str(cwd or Path.cwd())}
    text = json.dumps(request).encode()
    assert len(text) < REQUEST_BYTES_MAX
    reads, writes = os.pipe()
    with _lock:
        asked = _parent((module, *imports), env).requests
        socket.send_fds(asked, [text], [output.fileno(), errors.fileno(), writes])
    os.close(writes)
    reply = os.fdopen(reads, buffering=1)
    return Forked(int(reply.readline()), reply)


def quizstream(
    arguments: tuple[str, ...], env: Mapping[str, str], timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """The command line to its end. Raises subprocess.TimeoutExpired."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        exit_code = start(COMMANDS, arguments, env, output, errors).wait(timeout_s)
        output.seek(0)
        errors.seek(0)
        texts = (output.read().decode(), errors.read().decode())
    return subprocess.CompletedProcess(["quizstream", *arguments], exit_code, *texts)


class _Parent(NamedTuple):
    """It ends when nobody has the socket any more, as this process does at its end."""

    process: subprocess.Popen[bytes]
    requests: socket.socket


def _parent(modules: tuple[str, ...], env: Mapping[str, str]) -> _Parent:
    place = (*modules, *(env.get(name) for name in AT_START))
    if place not in _parents:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        argv = [sys.executable, "-m", "tests.support.forked", str(theirs.fileno()), *modules]
        with theirs:
            process = subprocess.Popen(argv, cwd=CHECKOUT, env=dict(env), pass_fds=[theirs.fileno()])
        _parents[place] = _Parent(process, ours)
    return _parents[place]


def _serve(requests: socket.socket) -> str:
    """Returns in the process of each program, with its module; ends with the last client."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # who waits for a program ends unwaited
    while True:
        text, descriptors, _, _ = socket.recv_fds(requests, REQUEST_BYTES_MAX, 3)
        if not text:
            sys.exit()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            requests.close()
            output, errors, reply = descriptors
            child = os.fork()
            if child:
                os.close(output)
                os.close(errors)
                os.write(reply, b"%d\n" % child)
                _, status = os.waitpid(child, 0)
                os.write(reply, b"%d\n" % os.waitstatus_to_exitcode(status))
                os._exit(0)
            os.close(reply)
            return _become(json.loads(text), output, errors)
        for descriptor in descriptors:
            os.close(descriptor)


def _become(request: dict[str, Any], output: int, errors: int) -> str:
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    # As the interpreter reads them in this process's locale, which may be C.
    sys.argv = [request["module"], *(os.fsdecode(one.encode()) for one in request["arguments"])]
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(output, 1)
    os.dup2(errors, 2)
    os.close(output)
    os.close(errors)
    return str(request["module"])


def _import_what_it_imports(module: str) -> None:
    """Not itself: it is run anew. A verb of the command line imports what it needs when it runs."""
    files = [CHECKOUT / f"{module.replace('.', '/')}.py"]
    if module == COMMANDS:
        files += sorted((CHECKOUT / "ops" / "commands").rglob("*.py"))
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                importlib.import_module(node.module)
            elif isinstance(node, ast.Import):
                for name in node.names:
                    importlib.import_module(name.name)


if __name__ == "__main__":
    _, descriptor, program, *further = sys.argv
    _import_what_it_imports(program)
    for each in further:
        importlib.import_module(each)
    runpy.run_module(_serve(socket.socket(fileno=int(descriptor))), run_name="__main__", alter_sys=True)
