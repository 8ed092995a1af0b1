"""Measures the lag where no supervisor does: a process of its own that shows nothing but metrics."""

from __future__ import annotations

import signal
import threading

from ops import deployment, lag_metrics
from ops.embedded.ports import Ports
from pipeline import observe
from pipeline.observe import Readiness


def main() -> None:
    """Runs until SIGTERM or Ctrl-C."""
    found = deployment.find()
    observed = observe.serve(Ports.from_base(found.settings.port_base).supervisor_metrics, Readiness)
    stop_measuring = lag_metrics.follow(found)
    stopped = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stopped.set())
    stopped.wait()
    stop_measuring()
    observed.stop()


if __name__ == "__main__":
    main()
