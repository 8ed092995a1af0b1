"""Metrics of the admission."""

from __future__ import annotations

from prometheus_client import Gauge, Histogram

IN_WORK = Gauge("quizstream_edge_in_work", "Completions that are being checked and published.")
IN_WORK_MAX = Gauge(
    "quizstream_edge_in_work_max",
    "Limit of completions in work at once; it falls while answers are late; beyond it a 503 is answered.",
)
SHEDDING = Gauge("quizstream_edge_shedding", "1 while the edge sheds load: the limit then follows the delay.")
LOOP_DELAY_S = Histogram(
    "quizstream_edge_loop_delay_seconds",
    "How late the edge's event loop is.",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0),
)
