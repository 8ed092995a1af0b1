"""The edge's metrics, in one list."""

from __future__ import annotations

from functools import cache

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter("quizstream_edge_requests_total", "Requests answered.", ["route", "status"])
SECONDS = Histogram(
    "quizstream_edge_request_seconds",
    "From the request's head to its answer, delivery report included.",
    ["route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
REFUSED = Counter("quizstream_edge_refused_total", "Requests refused, by problem type.", ["problem"])
IN_FLIGHT = Gauge("quizstream_edge_in_flight", "Requests that wait for their delivery report.")
BREAKER = Gauge("quizstream_edge_breaker_state", "0 closed, 1 half open, 2 open.")
PRODUCE_ERRORS = Counter(
    "quizstream_edge_produce_errors_total",
    "Errors of the producer, delivery reports included.",
    ["code"],
)
PRODUCERS_RENEWED = Counter(
    "quizstream_edge_producers_renewed_total", "Producers replaced after an error they cannot survive."
)
HEADS_REFUSED = Counter(
    "quizstream_edge_heads_refused_total",
    "Connections closed for a head that was too large, too slow or no HTTP.",
    ["why"],
)


@cache
def _answered(route: str, status: int) -> Counter:
    return REQUESTS.labels(route, str(status))


@cache
def _seconds(route: str) -> Histogram:
    return SECONDS.labels(route)


def count(route: str, status: int, problem: str, seconds: float) -> None:
    """Routes, statuses and problems are closed sets, so the caches above are small."""
    _answered(route, status).inc()
    _seconds(route).observe(seconds)
    if problem:
        REFUSED.labels(problem).inc()
