"""Metrics of the process webhook-sender. No label is a tenant's: a tenant reads its messages in the API."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

ATTEMPTS = Counter("quizstream_webhook_attempts", "Calls of tenants' endpoints, by their end.", ["outcome"])
ENDED = Counter("quizstream_webhook_messages_ended", "Messages that have ended, by their state.", ["state"])
CALL_S = Histogram(
    "quizstream_webhook_call_seconds",
    "From the beginning of a call to the answer.",
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30),
)
IN_FLIGHT = Gauge("quizstream_webhook_in_flight", "Calls of endpoints in flight.")
WAITING = Gauge("quizstream_webhook_waiting", "Messages that wait or are in flight, counted up to 100,000.")
OLDEST_S = Gauge("quizstream_webhook_oldest_seconds", "Age of the oldest message that has not ended.")
WAITING_OF_TENANT = Gauge(
    "quizstream_webhook_waiting_of_tenant", "Messages that wait, of the tenant with the most."
)
FAILING_S = Gauge(
    "quizstream_webhook_failing_seconds",
    "Since when the endpoint that fails for the longest has taken nothing; 0 if none fails.",
)
LATE_S = Gauge(
    "quizstream_webhook_late_seconds",
    "How long the oldest message has been due of an endpoint that neither fails nor is paused.",
)
RESOLVING = Gauge("quizstream_webhook_resolving", "Names of endpoints that are being resolved.")
RESOLVING_FULL = Counter(
    "quizstream_webhook_resolving_full",
    "Calls that found as many names of their tenant being resolved as may be.",
)
CIRCUITS_OPEN = Gauge("quizstream_webhook_circuits_open", "Endpoints with an open circuit breaker.")
DISABLED = Counter("quizstream_webhook_endpoints_disabled", "Endpoints that were disabled.", ["reason"])
DATABASE_ERRORS = Counter("quizstream_webhook_database_errors", "Failed transactions.")
HOLDING = Gauge("quizstream_webhook_holding", "1 while PostgreSQL is unavailable to the sender.")
PERMITTED = Gauge(
    "quizstream_webhook_permitted",
    "1 while the database has the sending permit, which a restored copy lacks.",
)

# From the start, so that a rate sees the first one.
for _outcome in ("delivered", "failed"):
    ATTEMPTS.labels(_outcome)
for _state in ("delivered", "failed", "expired", "given_up"):
    ENDED.labels(_state)
