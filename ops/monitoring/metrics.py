"""Metrics of the lag, measured from the brokers, so that a reader that is down is seen too."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

LAG_RECORDS = Gauge("quizstream_lag_records", "Records that a group has not read yet.", ["group", "topic"])
LAG_SECONDS = Gauge("quizstream_lag_seconds", "Age of the oldest record not read yet.", ["group", "topic"])
LAG_FAILURES = Counter(
    "quizstream_lag_failures_total", "Failed measurements of the lag because the brokers did not answer."
)
