"""A process that only exports the consumer lag, for deployments without a supervisor."""

from __future__ import annotations

from ops import locate
from ops.monitoring import lag_metrics
from pipeline.errors import exit_with_one_line
from pipeline.runtime import health
from pipeline.runtime.health import Readiness
from pipeline.runtime.stop_request import StopRequest


def main() -> None:
    """Run until SIGTERM or Ctrl-C."""
    found = locate.find()
    observed = health.serve(found.settings.ports.supervisor_metrics, Readiness)
    stop_measuring = lag_metrics.follow(found)
    request = StopRequest()
    request.make_on_signals()
    request.wait()
    stop_measuring()
    observed.stop()


if __name__ == "__main__":
    exit_with_one_line("lag", main)
