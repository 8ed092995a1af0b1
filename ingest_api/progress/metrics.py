"""Metrics of reports of progress."""

from __future__ import annotations

from prometheus_client import Counter

REPORTS = Counter("quizstream_edge_progress_total", "Accepted reports of progress, by kind.", ["kind"])
SHED = Counter(
    "quizstream_edge_progress_shed_total",
    "Reports of progress rejected with 503, because the edge keeps its room for completions.",
)
