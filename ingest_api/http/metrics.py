"""The edge's metrics, in one list."""

from __future__ import annotations

from functools import cache

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter("quizstream_edge_requests_total", "Requests answered.", ["route", "status"])
SECONDS = Histogram(
    "quizstream_edge_request_seconds",
    "Time from a request's head to its answer, including the wait for Kafka.",
    ["route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
REJECTED = Counter("quizstream_edge_refused_total", "Requests rejected, by problem type.", ["problem"])
IN_FLIGHT = Gauge("quizstream_edge_in_flight", "Requests that wait for the acknowledgement of Kafka.")
BREAKER_STATE = Gauge(
    "quizstream_edge_breaker_state", "Circuit breaker before Kafka: 0 closed, 1 half open, 2 open."
)
PRODUCE_ERRORS = Counter(
    "quizstream_edge_produce_errors_total",
    "Errors of the Kafka producer, including failed delivery reports, by code.",
    ["code"],
)
PRODUCERS_RENEWED = Counter(
    "quizstream_edge_producers_renewed_total", "Kafka producers replaced after a fatal error."
)
CLOCKS_AHEAD = Counter(
    "quizstream_edge_clocks_ahead_total",
    "Completions stored under their arrival because the client's clock was too far ahead.",
)
CONNECTIONS = Gauge("quizstream_edge_connections", "Open connections of clients.")
CONNECTIONS_MAX = Gauge("quizstream_edge_connections_max", "Limit of open connections of clients.")
CONNECTIONS_REJECTED = Counter(
    "quizstream_edge_connections_refused_total",
    "New connections rejected: `address` has too many, or `total` is reached and none is idle.",
    ["limit"],
)
IDLE_CONNECTIONS_CLOSED = Counter(
    "quizstream_edge_idle_connections_closed_total", "Idle connections closed at the limit, for new ones."
)
LINGERING = Gauge(
    "quizstream_edge_connections_lingering",
    "Connections that are answered and closing, and whose client still sends: what it sends is dropped.",
)
START_WAITS = Counter(
    "quizstream_edge_start_waits_total", "Requests that waited for the end of the edge's start."
)
AT_SHARED_PORT = Gauge(
    "quizstream_edge_at_shared_port", "1 while this process accepts connections at the port of several edges."
)
LIMITED = Counter("quizstream_edge_limited_total", "Requests rejected by a rate limit.", ["limit"])
LIMIT_DECISIONS = Counter(
    "quizstream_edge_limit_decisions_total",
    "Decisions of rate limits: `valkey`; `process`, while Valkey is unavailable; `remembered` rejections.",
    ["by"],
)
LIMITS_LOCAL = Gauge(
    "quizstream_edge_limits_local",
    "1 while Valkey is unavailable and each edge process applies its share of the rate limits.",
)
EDGES = Gauge("quizstream_edge_processes", "Edge processes that share the rate limits.")
HEADS_REJECTED = Counter(
    "quizstream_edge_heads_refused_total",
    "Connections closed because the request's head was too large, too slow or not HTTP.",
    ["why"],
)


@cache
def _answered(route: str, status: int) -> Counter:
    return REQUESTS.labels(route, str(status))


@cache
def _seconds(route: str) -> Histogram:
    return SECONDS.labels(route)


def count(route: str, status: int, problem: str, seconds: float) -> None:
    """Record one answer. Routes, statuses and problems are closed sets, so the caches above stay small."""
    _answered(route, status).inc()
    _seconds(route).observe(seconds)
    if problem:
        REJECTED.labels(problem).inc()
