"""Exports the lag of every agent and sink as metrics, measured in a thread."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from confluent_kafka import KafkaException
from prometheus_client import Counter, Gauge

from ops.locate import Deployment
from ops.topics.lag import Lag, LagMeter

EVERY_S = 5.0

log = logging.getLogger(__name__)

RECORDS = Gauge("quizstream_lag_records", "Records that a group has not read yet", ["group", "topic"])
SECONDS = Gauge("quizstream_lag_seconds", "Age of the oldest record not read yet", ["group", "topic"])
FAILURES = Counter(
    "quizstream_lag_failures_total", "Failed measurements of the lag because the brokers did not answer"
)


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
            FAILURES.inc()
            log.warning("cannot measure the lag, the brokers do not answer: %s; retrying", error)
            _show([])
        stop.wait(EVERY_S)
    meter.close()


def _show(lags: list[Lag]) -> None:
    # A missing value is better than an outdated one.
    RECORDS.clear()
    SECONDS.clear()
    for lag in lags:
        RECORDS.labels(lag.group, lag.topic).set(lag.records)
        if lag.seconds is not None:
            SECONDS.labels(lag.group, lag.topic).set(lag.seconds)
