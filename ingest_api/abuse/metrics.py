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
NOT_EXAMINED = Counter(
    "quizstream_abuse_not_examined_total",
    "Subjects of an interval beyond subjects_max, those with the fewest requests: they are not examined.",
)
VERDICTS_KEPT = Gauge(
    "quizstream_abuse_verdicts_kept",
    "Verdicts that this process holds, ended ones included; at most verdicts_max, and those of operators.",
)
VERDICTS_FORGOTTEN = Counter(
    "quizstream_abuse_verdicts_forgotten_total",
    "Automatic verdicts that this process gave up before their time, because it holds verdicts_max.",
)
ALONE_KEPT = Gauge(
    "quizstream_abuse_alone_kept",
    "What this process holds while it judges alone: `sums` (at most alone_subjects_max), `quizzes` "
    "(quizzes_max) and `verdicts` (verdicts_max).",
    ["what"],
)
TICKETS = Counter(
    "quizstream_abuse_tickets_total",
    "Valid tickets, by where it was known whether they were used: `valkey` (all processes) or `process`.",
    ["by"],
)
TICKETS_REJECTED = Counter(
    "quizstream_abuse_tickets_rejected_total",
    "Valid tickets that passed nothing: `used` before, or `moved`: too many of one network came from others.",
    ["reason"],
)
TICKETS_KEPT = Gauge(
    "quizstream_abuse_tickets_kept", "Used tickets that this process remembers; at most tickets_kept_max."
)
