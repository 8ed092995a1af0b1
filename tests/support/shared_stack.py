"""One embedded stack for all workers of a test run.

The first worker to come starts it, in a process of its own that is the servers' owner; the last to leave
stops it. Each worker holds a FIFO to that owner process open: once no worker has it open any more, however
they ended, the owner stops the servers. So a run that is killed leaves nothing behind either.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from ops.embedded import postgres
from ops.embedded.stack import EmbeddedStack, ServerUrls
from ops.processes.bounded_log import last_lines
from pipeline.errors import CannotStart
from tests.support.ports import free_ports

KAFKA_HEAP_MIB = 512
START_TIMEOUT_S = 240.0  # the first run downloads Kafka's jars
POLL_S = 0.05
FIFO = "alive.fifo"
OUTCOME = "outcome.json"
OWNER_LOG = "owner.log"
STOP_TIMEOUT_S = 60.0
# The machine of a test run does not lose power: a test that kills PostgreSQL has servers of its own.
# Dropping a database looks through all buffers.
UNSYNCED = {"fsync": "off", "full_page_writes": "off", "shared_buffers": "128MB"}
_owners: list[subprocess.Popen[bytes]] = []  # of this process: they run longer than the call that starts them


class _Outcome(msgspec.Struct, frozen=True):
    """What the owner tells the workers: the addresses, or why there are none."""

    kafka_bootstrap: str = ""
    database_url: str = ""
    redis_url: str = ""
    cannot_start: str = ""


@contextmanager
def shared_stack(folder: Path) -> Iterator[ServerUrls]:
    """`folder` is common to the workers of one run and to no other. Raises CannotStart."""
    with _locked(folder):
        alive = _open_for_writing(folder / FIFO)
        if alive is None:
            (folder / FIFO).unlink(missing_ok=True)
            (folder / OUTCOME).unlink(missing_ok=True)
            os.mkfifo(folder / FIFO)
            alive = _wait_until_listening(folder, _new_owner(folder))
    try:
        outcome = _wait_for(folder / OUTCOME)
        if outcome.cannot_start:
            raise CannotStart(outcome.cannot_start)
        yield ServerUrls(outcome.kafka_bootstrap, outcome.database_url, outcome.redis_url)
    finally:
        os.close(alive)


def wait_until_gone(folder: Path) -> None:
    """Returns once the servers of a run have stopped, which they do when its last worker has left."""
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(POLL_S)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Holds the folder's lock, making the folder where an owner that left has removed it."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock = (folder / "start.lock").open("w")
        except FileNotFoundError:
            continue
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if os.fstat(lock.fileno()).st_nlink == 0:
                continue  # removed, with the folder, while we waited
            yield
            return


def _checkout() -> Path:
    return Path(__file__).resolve().parents[2]


def _open_for_writing(fifo: Path) -> int | None:
    """A descriptor that says "somebody still needs the servers", or None when no owner listens."""
    try:
        return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENOENT):
            return None
        raise


def _new_owner(folder: Path) -> subprocess.Popen[bytes]:
    """With streams of its own: it outlives the worker, whose pipes somebody may read to their end."""
    with (folder / OWNER_LOG).open("wb") as log:
        owner = subprocess.Popen(
            [sys.executable, "-m", "tests.support.shared_stack", str(folder)],
            cwd=_checkout(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    _owners.append(owner)
    return owner


def _wait_until_listening(folder: Path, owner: subprocess.Popen[bytes]) -> int:
    while (alive := _open_for_writing(folder / FIFO)) is None:
        if owner.poll() is not None:
            raise CannotStart(f"The test servers' owner ended at once: {last_lines(folder / OWNER_LOG)}")
        time.sleep(POLL_S)
    return alive


def _wait_for(outcome_file: Path) -> _Outcome:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not outcome_file.exists():
        if time.monotonic() > deadline:
            raise CannotStart(f"The test servers were not ready within {START_TIMEOUT_S:.0f} s.")
        time.sleep(POLL_S)
    return msgspec.json.decode(outcome_file.read_bytes(), type=_Outcome)


def _own(folder: Path) -> None:
    """The owner's life: start, tell, wait until nobody holds the FIFO open for writing, stop, clean up."""
    os.setsid()  # a Ctrl-C is for pytest; the servers stop after the last worker
    reader = os.open(folder / FIFO, os.O_RDONLY)  # returns with the first worker's descriptor
    home = Path(tempfile.mkdtemp(prefix="home-", dir=folder))
    home.chmod(0o755)  # PostgreSQL's own user passes through
    stack: EmbeddedStack | None = None
    postgres.SETTINGS.update(UNSYNCED)
    try:
        try:
            stack = EmbeddedStack(home, free_ports(), kafka_heap_mib=KAFKA_HEAP_MIB)
            urls = stack.start()
            outcome = _Outcome(urls.kafka_bootstrap, urls.database_url, urls.redis_url)
        except CannotStart as error:
            outcome = _Outcome(cannot_start=error.message)
        (folder / "outcome.unfinished").write_bytes(msgspec.json.encode(outcome))
        (folder / "outcome.unfinished").replace(folder / OUTCOME)
        _wait_until_alone(folder, reader)
    finally:
        if stack is not None:
            with suppress(KeyError):  # it may never have run
                stack.kill_broker(1)  # it would sync thousands of logs to the disk that nobody reads again
            stack.stop()
        shutil.rmtree(home, ignore_errors=True)
    with _locked(folder):
        if not (folder / FIFO).exists():  # else a late worker has started servers of its own there
            shutil.rmtree(folder)


def _wait_until_alone(folder: Path, reader: int) -> None:
    """Returns once no worker is left and none can come any more: the FIFO is gone."""
    while True:
        os.set_blocking(reader, True)
        os.read(reader, 1)  # nobody ever writes: returns once the last writer has closed
        with _locked(folder):
            os.set_blocking(reader, False)
            try:
                os.read(reader, 1)
            except BlockingIOError:
                continue  # somebody came meanwhile
            (folder / FIFO).unlink()
            (folder / OUTCOME).unlink()
            return


if __name__ == "__main__":
    _own(Path(sys.argv[1]))
