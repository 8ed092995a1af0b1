"""Metrics of the supervisor, by process name, and of the embedded servers, by server name."""

from __future__ import annotations

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge


class Metrics:
    """Restarts and liveness by process name."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.restarts = Counter(
            "quizstream_process_restarts_total",
            "Starts of a process after its first.",
            ["process"],
            registry=registry,
        )
        self.up = Gauge(
            "quizstream_process_up", "1 while the process is ready.", ["process"], registry=registry
        )


class ServerMetrics:
    """Restarts and liveness of embedded servers: `kafka-1`, `postgres`, `valkey`."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.restarts = Counter(
            "quizstream_server_restarts_total",
            "Starts of an embedded server after its first.",
            ["server"],
            registry=registry,
        )
        self.up = Gauge(
            "quizstream_server_up", "1 while the embedded server is ready.", ["server"], registry=registry
        )
