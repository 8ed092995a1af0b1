"""Waits until nothing is in flight: all records processed, all events published, all deliveries final."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from ops.locate import Deployment
from ops.topics.lag import Lag, LagMeter
from sinks.postgres.connect import Connection, connect
from sinks.postgres.queries import load_queries

QUERIES = load_queries(Path(__file__).with_name("reconcile.sql"))
POLL_S = 0.5


def settle(
    found: Deployment,
    timeout_s: float,
    progress: Callable[[str], None] = lambda _line: None,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Return an empty text once nothing is in flight, or what still is after `timeout_s`.

    Two consecutive measurements must show no work and the same end offsets: during one measurement a record
    may move from a place that was not measured yet to one that was.
    """
    deadline_s = clock() + timeout_s
    meter = LagMeter(found.settings.kafka_bootstrap_servers, found.topology)
    try:
        with connect(found.settings.database_url, "settle") as connection:
            before: dict[str, int] | None = None
            while True:
                ends, moving = look(meter, connection)
                if not moving and ends == before:
                    return ""
                if clock() > deadline_s:
                    return moving or "records were still arriving"
                before = None if moving else ends
                progress(moving or "nothing in flight, measuring once more")
                sleep(POLL_S)
    finally:
        meter.close()


def look(meter: LagMeter, connection: Connection) -> tuple[dict[str, int], str]:
    """Return the end offsets of all topics, and the remaining work in the order of processing."""
    lags = meter.measure()
    moving = [_text(lag) for lag in lags if lag.records]
    unpublished = connection.execute(QUERIES["unpublished"]).fetchone()
    if unpublished and unpublished[0]:
        moving.append(f"{unpublished[0]} events to publish")
    states = [
        f"{count:,} deliveries {state}"
        for state, count in connection.execute(QUERIES["unsettled_deliveries"])
    ]
    return meter.ends_seen(), ", ".join(moving + states)


def _text(lag: Lag) -> str:
    return f"{lag.records:,} records before {lag.reader}"
