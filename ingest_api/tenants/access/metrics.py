"""Metrics of authentication."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

TOKENS = Counter(
    "quizstream_tenants_tokens_total",
    "Tokens of requests to the tenant API: `accepted`, or why they were rejected.",
    ["result"],
)
REMEMBERED = Gauge("quizstream_tenants_tokens_remembered", "Verified tokens that are remembered.")
