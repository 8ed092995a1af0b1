"""Exports the lag of every agent and sink as metrics, measured in a thread."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from confluent_kafka import KafkaException

from ops.locate import Deployment
from ops.monitoring import metrics
from ops.topics.lag import Lag, LagMeter

EVERY_S = 5.0

log = logging.getLogger(__name__)


def follow(found: Deployment) -> Callable[[], None]:
    """Start measuring. The returned function stops it and returns once the connections are closed."""
    stop = threading.Event()
    thread = threading.Thread(target=_run, args=(found, stop), name="lag", daemon=True)
    thread.start()

    def end() -> None:
        stop.set()
        thread.join()

    return end


def _run(found: Deployment, stop: threading.Event) -> None:
    meter = LagMeter(found.settings.kafka_bootstrap_servers, found.topology)
    while not stop.is_set():
        try:
            _show(meter.measure())
        except KafkaException as error:
            metrics.LAG_FAILURES.inc()
            log.warning("cannot measure the lag, the brokers do not answer: %s; retrying", error)
            _show([])
        stop.wait(EVERY_S)
    meter.close()


def _show(lags: list[Lag]) -> None:
    # A missing value is better than an outdated one.
    metrics.LAG_RECORDS.clear()
    metrics.LAG_SECONDS.clear()
    for lag in lags:
        metrics.LAG_RECORDS.labels(lag.group, lag.topic).set(lag.records)
        if lag.seconds is not None:
            metrics.LAG_SECONDS.labels(lag.group, lag.topic).set(lag.seconds)
