"""Metrics of what every process may run: following reference data."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

# Labelled by the topic's role, which is the same in every deployment.
REFERENCE_EVENTS = Counter(
    "quizstream_reference_data_events_total", "Reference data records read, tombstones included.", ["role"]
)
REFERENCE_UNDECODABLE = Counter(
    "quizstream_reference_data_undecodable_total",
    "Reference data records skipped: no key, or not decodable.",
    ["role"],
)
REFERENCE_LAG_RECORDS = Gauge(
    "quizstream_reference_data_lag_records",
    "Reference data records in the topic that this process has not read yet.",
    ["role"],
)
REFERENCE_ERRORS = Counter(
    "quizstream_reference_data_errors_total", "Kafka errors while following reference data.", ["role"]
)
