"""Metrics of the campaign registry."""

from __future__ import annotations

from prometheus_client import Counter

LATE = Counter(
    "quizstream_campaigns_late_total",
    "Campaign versions that arrived after they came into force; earlier verdicts stay as they are.",
)
CONFLICTING = Counter(
    "quizstream_campaigns_conflicting_total",
    "Campaign versions that arrived twice with different contents; the first is kept.",
)
