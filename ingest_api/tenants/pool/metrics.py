"""Metrics of the tenant API's process; requests are counted as those of the edge, by route."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

CONNECTIONS = Gauge("quizstream_tenants_connections", "Connections of the pool to the database.")
WAITING = Gauge("quizstream_tenants_waiting", "Requests that wait for a connection to the database.")
REPEATED = Counter("quizstream_tenants_repeated_total", "Requests answered as before, by idempotency key.")
BEYOND_SHARE = Counter(
    "quizstream_tenants_beyond_share_total", "Requests rejected because the tenant had its share in flight."
)
