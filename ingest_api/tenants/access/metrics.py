"""Metrics of authentication."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

TOKENS = Counter(
    "quizstream_tenants_tokens_total",
    "Tokens of requests to the tenant API: `accepted`, or why they were rejected.",
    ["result"],
)
REMEMBERED = Gauge("quizstream_tenants_tokens_remembered", "Verified tokens that are remembered.")
HASHING = Gauge("quizstream_tenants_hashing", "Passwords that are being hashed or wait for it.")
HASHING_REJECTED = Counter(
    "quizstream_tenants_hashing_rejected_total", "Requests rejected because too many passwords waited."
)
HASHING_SECONDS = Histogram(
    "quizstream_tenants_hashing_seconds", "Time from a request to the hash of its password."
)
