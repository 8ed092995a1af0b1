"""Metrics of webhooks at the edge."""

from __future__ import annotations

from prometheus_client import Counter

REFUSED = Counter(
    "quizstream_webhooks_refused_total",
    "Webhooks of session numbers that were rejected: `key` is not that of the number; the body is of another"
    " `number`.",
    ["provider", "reason"],
)
