"""Measures the lag where no supervisor does: a process of its own that shows nothing but metrics."""

from __future__ import annotations

from ops import deployment, lag_metrics
from ops.embedded.ports import Ports
from pipeline import observe
from pipeline.observe import Readiness
from pipeline.stop_request import StopRequest


def main() -> None:
    """Runs until SIGTERM or Ctrl-C."""
    found = deployment.find()
    observed = observe.serve(Ports.from_base(found.settings.port_base).supervisor_metrics, Readiness)
    stop_measuring = lag_metrics.follow(found)
    request = StopRequest()
    request.make_on_signals()
    request.wait()
    stop_measuring()
    observed.stop()


if __name__ == "__main__":
    main()
