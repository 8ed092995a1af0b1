"""The circuit breaker before Kafka: after several failures in a row, requests are rejected without a wait.

It has no clock. Its owner reports the result of each publication, and reports when the brokers answer again
(`ingest_api.kafka.producer` probes them while the circuit breaker is open).
"""

from __future__ import annotations

from enum import Enum


class State(Enum):
    CLOSED = 0  # every request is admitted
    HALF_OPEN = 1  # the brokers answer again: one request is admitted
    OPEN = 2  # no request is admitted


class CircuitBreaker:
    """Opens after `failures_max` failures in a row. Half open, it admits one request at a time."""

    def __init__(self, failures_max: int) -> None:
        self._failures_max = failures_max
        self._failures = 0
        self._trying = False
        self.state = State.CLOSED

    def admits(self) -> bool:
        """Return whether the caller may publish; it must then report `succeeded`, `failed` or `withdrawn`."""
        if self.state is State.CLOSED:
            return True
        if self.state is State.HALF_OPEN and not self._trying:
            self._trying = True
            return True
        return False

    def succeeded(self) -> None:
        """Close it from any state: a late success also proves that Kafka accepts records."""
        self._failures = 0
        self._trying = False
        self.state = State.CLOSED

    def failed(self) -> bool:
        """Record a failure; return whether it opened the circuit breaker."""
        if self.state is State.OPEN:
            return False
        self._failures += 1
        if self.state is State.CLOSED and self._failures < self._failures_max:
            return False
        self.open()
        return True

    def withdrawn(self) -> None:
        """Record that an admitted request never reached Kafka, or that its own record was invalid."""
        self._trying = False

    def open(self) -> None:
        self._trying = False
        self.state = State.OPEN

    def reached(self) -> None:
        """Record that the brokers answer; the next request shows whether they also accept records."""
        if self.state is State.OPEN:
            self.state = State.HALF_OPEN
