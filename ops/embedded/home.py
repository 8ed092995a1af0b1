"""The folder with the state of an embedded stack, and the exclusive right to use it.

A home has a file lock. Every server inherits the lock's descriptor, so that the lock is held while any of
them runs: when it is free, no process of an earlier run is left, not even of a killed one.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import CannotStart
from pipeline.runtime.settings import BROKERS_CHOICES

HOME_ENV = "QUIZSTREAM_HOME"
HOME_DEFAULT = ".quizstream"
FREE_BYTES_MIN = 1024**3  # Kafka's segments, Postgres' WAL and room to stop cleanly
LEFTOVER_WAIT_S_MAX = 30.0  # what servers of a killed run may take to finish their clean stop


@dataclass(frozen=True, slots=True)
class Home:
    path: Path

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Home:
        """QUIZSTREAM_HOME, else `.quizstream` in the current folder."""
        text = (os.environ if env is None else env).get(HOME_ENV, "") or HOME_DEFAULT
        return cls(Path(text).expanduser().absolute())

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def lock_file(self) -> Path:
        return self.path / "owner.lock"

    @property
    def database_url_file(self) -> Path:
        """The embedded database's URL with its password, readable by the owner alone, kept between runs."""
        return self.path / "database.url"

    @property
    def state_file(self) -> Path:
        """What the supervisor writes: process name -> pid, restarts, state."""
        return self.path / "processes.json"

    @property
    def scrape_targets_file(self) -> Path:
        """Where Prometheus finds every process (`file_sd_configs`)."""
        return self.path / "prometheus-targets.json"

    @property
    def brokers_file(self) -> Path:
        """How many Kafka brokers the home was made for: a number in a line."""
        return self.path / "kafka.brokers"

    @property
    def servers_file(self) -> Path:
        """Pids of the servers that the owner started, as JSON: `{"kafka-1": 123, "postgres": 124, ...}`."""
        return self.path / "servers.json"

    @property
    def server_states_file(self) -> Path:
        """What the watch over the servers writes (`ops.embedded.server_state`)."""
        return self.path / "server-states.json"

    def brokers(self, asked: int | None) -> int:
        """How many brokers to start: what was asked for where the home is new, else what it was made for.

        Raises CannotStart where the two differ, or where the count is not supported.
        """
        made_for = self._brokers_made_for()
        if asked is not None and asked not in BROKERS_CHOICES:
            raise CannotStart(f"unsupported broker count {asked}: use 1 or 3.")
        if made_for is None or made_for == asked:
            return asked or made_for or 1
        if asked is None:
            return made_for
        raise CannotStart(
            f"{self.path} was made for {_brokers(made_for)}, its topics have as many replicas: "
            f"start it without --brokers, or choose another {HOME_ENV} for {_brokers(asked)}."
        )

    def _brokers_made_for(self) -> int | None:
        try:
            return int(self.brokers_file.read_text())
        except FileNotFoundError:
            # Before homes said so, each had one.
            return 1 if (self.path / "kafka" / "data").exists() else None
        except ValueError:
            raise CannotStart(f"{self.brokers_file} holds no number: write 1 or 3 into it.") from None

    def remember_brokers(self, brokers: int) -> None:
        self.brokers_file.write_text(f"{brokers}\n")

    def prepare(self, free_bytes_min: int = FREE_BYTES_MIN) -> None:
        """Makes the folder. Raises CannotStart when it cannot be made or its disk is nearly full."""
        try:
            self.logs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CannotStart(
                f"Cannot make the folder {self.path} ({error.strerror}): "
                f"set {HOME_ENV} to one that can be written."
            ) from error
        free_bytes = shutil.disk_usage(self.path).free
        if free_bytes < free_bytes_min:
            raise CannotStart(
                f"Only {free_bytes // 1024**2} MiB are free on the disk of {self.path}, "
                f"{free_bytes_min // 1024**2} MiB are needed: free some space, "
                f"or set {HOME_ENV} to a folder on another disk."
            )

    def owner_pid(self) -> int | None:
        """The process that wrote itself into the lock file last, whether it lives or not."""
        try:
            text = self.lock_file.read_text().strip()
        except OSError:
            return None
        return int(text) if text.isdecimal() else None

    def lock(self, progress: Callable[[str], None], leftover_wait_s: float = LEFTOVER_WAIT_S_MAX) -> HomeLock:
        """Takes the home. Raises CannotStart when a living process has it.

        When only servers of a killed owner hold it, waits until they have stopped.
        """
        descriptor = os.open(self.lock_file, os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + leftover_wait_s
        told = False
        while not _try_lock(descriptor):
            owner_pid = self.owner_pid()
            if owner_pid is not None and is_alive(owner_pid):
                os.close(descriptor)
                raise CannotStart(
                    f"{self.path} is in use by process {owner_pid}: stop it first (`quizstream down`), "
                    f"or run beside it with another {HOME_ENV} and other ports."
                )
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise CannotStart(
                    f"Servers of an earlier run still use {self.path} after {leftover_wait_s:.0f} s: "
                    f"find them with `fuser {self.lock_file}` and stop them."
                )
            if not told:
                progress("waiting for the servers of an earlier run to stop")
                told = True
            time.sleep(0.1)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return HomeLock(descriptor)

    def remove(self) -> None:
        """Removes the folder and what lies elsewhere for it. Raises CannotStart while a process uses it."""
        if not self.path.exists():
            return
        lock = self.lock(progress=lambda _line: None)
        try:
            postgres = self.path / "postgres"
            if postgres.is_symlink():
                target = postgres.resolve()
                shutil.rmtree(target, ignore_errors=True)
                target.with_name(f"{target.name}.home").unlink(missing_ok=True)
            shutil.rmtree(self.path)
        finally:
            lock.release()


class HomeLock:
    """The right to use a home. `descriptor` is to be inherited by whatever uses files of the home."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def release(self) -> None:
        """Once every heir has ended, the home is free."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def _brokers(count: int) -> str:
    return f"{count} broker" if count == 1 else f"{count} brokers"


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True


def is_alive(pid: int) -> bool:
    """Whether a process of this id runs, of any user."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
