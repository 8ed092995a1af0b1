"""Metrics of the anomaly detection."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

VERDICTS = Gauge(
    "quizstream_abuse_verdicts", "Subjects in a state now, as this process has them.", ["kind", "state"]
)
DECIDED = Counter(
    "quizstream_abuse_decided_total", "Verdicts that this process has made, by state.", ["kind", "state"]
)
ANSWERS = Counter(
    "quizstream_abuse_requests_total",
    "Requests that met a verdict: `delayed`, `challenged`, `passed` (with a ticket) or `blocked`.",
    ["what"],
)
ALONE = Gauge(
    "quizstream_abuse_alone",
    "1 while Valkey is unavailable and this process judges by its own observations.",
)
UNOBSERVED = Counter(
    "quizstream_abuse_unobserved_total", "Requests beyond observed_max of an interval: they are not examined."
)
LOOK_SECONDS = Histogram(
    "quizstream_abuse_look_seconds",
    "Time in which the event loop examines the requests of one interval.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25),
)
EXAMINED = Gauge("quizstream_abuse_examined", "Subjects whose completions are examined now.")
