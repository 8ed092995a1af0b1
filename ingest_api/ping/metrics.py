"""Metrics of pings."""

from __future__ import annotations

from prometheus_client import Gauge, Histogram

EXPECTED = Gauge(
    "quizstream_edge_pings_expected", "Pings that this process expects: about one of each client."
)
INTERVAL_S = Histogram(
    "quizstream_edge_ping_interval_seconds",
    "Time until the next ping, as it was answered.",
    buckets=(30, 60, 90, 120, 180, 300, 450, 600, 900),
)
