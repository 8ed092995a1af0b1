"""What every embedded server shares: a tethered child, a bounded log, a readiness wait, an ordered stop."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ops.processes import tether
from ops.processes.bounded_log import BoundedLog, last_lines
from pipeline.errors import CannotStart

POLL_S = 0.02
STOP_GRACE_S = 20.0  # Kafka and PostgreSQL write their state; longer means stuck
LOG_JOIN_S = 2.0
_COMPLAINTS = ("ERROR", "FATAL", "Exception: ", "Caused by")


@dataclass(frozen=True, slots=True)
class Command:
    """How a server is started and asked to stop. `log` takes its output; `own_log` it writes itself."""

    name: str
    argv: Sequence[str]
    cwd: Path
    env: Mapping[str, str]
    log: Path
    stop_signal: signal.Signals = signal.SIGTERM
    run_as: tether.Account | None = None
    own_log: Path | None = None


class RunningServer:
    def __init__(self, command: Command, inherited_fds: Sequence[int]) -> None:
        """Starts it. Raises CannotStart when no process can be made."""
        self._command = command
        log = BoundedLog(command.log)
        try:
            self._child = tether.spawn(
                command.argv,
                cwd=command.cwd,
                env=command.env,
                output=log.write_end,
                death_signal=command.stop_signal,
                run_as=command.run_as,
                inherited_fds=inherited_fds,
            )
        except OSError as error:
            raise CannotStart(f"Cannot run {command.name}: {error}.") from error
        finally:
            log.child_started()
        self._log = log

    @property
    def pid(self) -> int:
        return self._child.pid

    def wait_ready(
        self, is_ready: Callable[[], bool], timeout_s: float, cancelled: threading.Event | None = None
    ) -> None:
        """Returns once `is_ready()`.

        Raises CannotStart when the server ends, `timeout_s` passes or `cancelled` is set before.
        """
        deadline = time.monotonic() + timeout_s
        while not is_ready():
            if cancelled is not None and cancelled.is_set():
                raise CannotStart(f"The start of {self._command.name} was cancelled.")
            status = self._child.poll()
            if status is not None:
                self._log.join(LOG_JOIN_S)
                raise CannotStart(
                    f"{self._command.name} ended while starting (status {status}): {self._why()}"
                )
            if time.monotonic() > deadline:
                raise CannotStart(
                    f"{self._command.name} was not ready within {timeout_s:.0f} s: {self._why()}"
                )
            time.sleep(POLL_S)

    @property
    def alive(self) -> bool:
        return self._child.poll() is None

    @property
    def exit_status(self) -> int | None:
        """None while it runs; negative is the signal that ended it."""
        return self._child.poll()

    def kill(self) -> None:
        """SIGKILL; returns once the process is gone."""
        self._child.kill()
        self._child.wait()
        self._log.join(LOG_JOIN_S)

    def stop(self) -> None:
        """Returns once the process is gone."""
        tether.stop(self._child, first=self._command.stop_signal, grace_s=STOP_GRACE_S)
        self._log.join(LOG_JOIN_S)

    def _why(self) -> str:
        own_log = self._command.own_log
        if own_log is not None and (told := last_lines(own_log, having=_COMPLAINTS)):
            return f"{told} (log: {own_log})"
        return f"{last_lines(self._command.log) or 'it wrote nothing'} (log: {self._command.log})"


def run_to_end(command: Command, inherited_fds: Sequence[int], timeout_s: float) -> None:
    """Runs a preparing step, such as a format. Raises CannotStart when it fails or exceeds `timeout_s`."""
    step = RunningServer(command, inherited_fds)
    try:
        status = step._child.wait(timeout_s)
    except Exception as error:
        step.stop()
        raise CannotStart(
            f"{command.name} took longer than {timeout_s:.0f} s (log: {command.log})."
        ) from error
    step._log.join(LOG_JOIN_S)
    if status != 0:
        raise CannotStart(f"{command.name} failed (status {status}): {step._why()}")
