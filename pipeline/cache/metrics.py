"""The metrics of the cache service, in one list."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

ANSWERS = Counter(
    "quizstream_cache_answers_total",
    "Values returned, by level: `process` and `valkey` are hits; `source` was loaded; `stale`: the source "
    "failed or was slow; `failed`: there was no copy.",
    ["namespace", "level"],
)
LOAD_SECONDS = Histogram(
    "quizstream_cache_load_seconds",
    "Time of a load from the source, failed ones included.",
    ["namespace"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0),
)
LOADS_FAILED = Counter(
    "quizstream_cache_loads_failed_total", "Loads that the source did not answer or failed.", ["namespace"]
)
BREAKER_STATE = Gauge(
    "quizstream_cache_breaker_state",
    "Circuit breaker before Valkey or before the source of a namespace: 0 closed, 1 half open, 2 open.",
    ["before"],
)
ENTRIES = Gauge("quizstream_cache_entries", "Copies in this process.")
ENTRIES_MAX = Gauge("quizstream_cache_entries_max", "Limit of copies in this process.")
BYTES = Gauge("quizstream_cache_bytes", "Size of the copies in this process.")
BYTES_MAX = Gauge("quizstream_cache_bytes_max", "Limit of the size of the copies in this process.")
EVICTED = Counter(
    "quizstream_cache_evicted_total", "Copies removed from this process because a limit was reached."
)
INVALIDATIONS = Counter(
    "quizstream_cache_invalidations_total",
    "Invalidations that other processes have published.",
    ["namespace"],
)
LISTENING = Gauge(
    "quizstream_cache_listening",
    "1 while this process receives invalidations of others; 0 while copies are only as fresh as their age.",
)
FLUSHES = Counter(
    "quizstream_cache_flushes_total",
    "Times that all copies of this process became stale, since invalidations may have been missed.",
)
