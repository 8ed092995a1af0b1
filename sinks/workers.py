"""A process whose tasks are threads that end together."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from pipeline.errors import OperatorError, exit_with_one_line
from pipeline.runtime import health
from pipeline.runtime.repeated_logs import suppress_repeats
from pipeline.runtime.settings import Settings
from pipeline.runtime.stop_request import StopRequest

LOG = logging.getLogger(__name__)
STOP_MAX_S = 9.0  # a supervisor kills after ten


@dataclass(frozen=True, slots=True)
class Work:
    """One thread's task: `run` returns after its stop is set, or raises an error that ends the process."""

    name: str
    run: Callable[[threading.Event], None]
    holding: Callable[[], bool]


class Workers:
    """Threads that end together: when one fails, all stop, and the process reports the reason."""

    def __init__(self, works: list[Work], request: StopRequest) -> None:
        self._request = request
        self._stop = threading.Event()
        self._works = works
        self._failures: list[str] = []
        self._threads = [
            threading.Thread(target=self._run, args=[work], name=work.name, daemon=True) for work in works
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def wait(self) -> list[str]:
        """Wait for a stop or a failed thread, then for the other threads; return the failures."""
        self._request.wait()
        self._stop.set()
        deadline = time.monotonic() + STOP_MAX_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        slow = [thread.name for thread in self._threads if thread.is_alive()]
        return self._failures + [f"{name} did not stop within {STOP_MAX_S:.0f} s" for name in slow]

    def readiness(self) -> health.Readiness:
        return health.Readiness(
            tuple(f"{work.name} waits for Postgres or Kafka" for work in self._works if work.holding())
        )

    def _run(self, work: Work) -> None:
        try:
            work.run(self._stop)
        except OperatorError as error:
            self._failures.append(str(error))
        except Exception as error:
            LOG.exception("%s failed", work.name)
            self._failures.append(f"{work.name}: {type(error).__name__}")
        finally:
            self._request.make()


def run_until_stopped(works: list[Work], metrics_port: int) -> int:
    """Run until SIGTERM or SIGINT (0), or until a thread fails; the supervisor then restarts the process.

    Metrics and health are served at `metrics_port`. Raises OperatorError with the reasons of a failure.
    """
    request = StopRequest()
    workers = Workers(works, request)
    request.make_on_signals()
    try:
        observed = health.serve(metrics_port, workers.readiness)
    except OSError as error:
        raise OperatorError(f"port {metrics_port} of the metrics: {error.strerror}") from None
    workers.start()
    failures = workers.wait()
    observed.stop()
    if failures:
        raise OperatorError("; ".join(failures))
    return 0


def run_alone(name: str, main: Callable[[Settings], int]) -> NoReturn:
    """Run one process by its module, with its log on stderr and a failure as one line."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(threadName)s %(message)s")
    suppress_repeats()
    exit_with_one_line(name, lambda: main(Settings.from_env()))
