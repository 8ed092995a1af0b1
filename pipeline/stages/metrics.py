"""Metrics of the stages, updated once per batch."""

from __future__ import annotations

from prometheus_client import Counter

VERDICTS = Counter("quizstream_verdicts_total", "Completions that got their first verdict.", ["verdict"])
REPEATED_VERDICTS = Counter(
    "quizstream_verdicts_repeated_total", "Records read again whose remembered verdict was given again."
)
REPEATS = Counter(
    "quizstream_completions_repeated_total",
    "Records whose completion id was decided at another offset: a client's retry, without effects.",
)
FORGOTTEN = Counter(
    "quizstream_completions_forgotten_total",
    "Records read again that are no longer remembered: their verdict is durable already.",
)
VERSIONS_MISSING = Counter(
    "quizstream_campaign_versions_missing_total",
    "Remembered matches not repeated because their campaign version is not in the reference data.",
)
DELIVERIES = Counter("quizstream_deliveries_total", "First matches of (campaign, contact), repetitions too.")
DUPLICATES = Counter("quizstream_duplicates_total", "Matches of (campaign, contact) after the first.")
