"""Metrics of the stream's processes. Dashboards and alerts use their names."""

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_RECORDS = (1, 3, 10, 30, 100, 300, 1000, 3000, 10000)

# Records and chunks that a stage has ended: all they caused is durable, and they are acked.
RECORDS = Counter("quizstream_stream_records_total", "Records ended by a stage.", ["stage"])
CHUNKS = Counter("quizstream_stream_chunks_total", "Chunks ended by a stage.", ["stage"])
OUTPUTS = Counter("quizstream_stream_outputs_total", "Records sent by a stage, repeats included.", ["stage"])
CHUNK_RECORDS = Histogram(
    "quizstream_stream_chunk_records", "Records in a chunk.", ["stage"], buckets=_RECORDS
)

# Where a chunk's time goes.
PROCESS_SECONDS = Histogram(
    "quizstream_stream_process_seconds", "Pure processing of one chunk.", ["stage"], buckets=_SECONDS
)
DELIVER_SECONDS = Histogram(
    "quizstream_stream_deliver_seconds",
    "Sending the records of one chunk until all are acknowledged.",
    ["stage"],
    buckets=_SECONDS,
)
WRITE_SECONDS = Histogram(
    "quizstream_stream_write_seconds", "Writing one chunk's state.", ["stage"], buckets=_SECONDS
)

# What did not go as it should.
POISON = Counter("quizstream_stream_poison_total", "Records sent to the dead letters.", ["stage"])
DELIVERY_FAILURES = Counter(
    "quizstream_stream_delivery_failures_total", "Deliveries of a chunk that had to be repeated.", ["stage"]
)
ABANDONED = Counter(
    "quizstream_stream_chunks_abandoned_total",
    "Chunks that ended without an ack after a rebalance; another worker repeats them.",
    ["stage"],
)
FOREIGN_APPENDS = Counter(
    "quizstream_stream_changelog_foreign_appends_total",
    "Chunks whose changelog records follow records of another writer.",
    ["table"],
)

# The tables.
KEYS = Gauge(
    "quizstream_stream_table_keys", "Keys in a table's partition of this worker.", ["table", "partition"]
)
EXPIRED = Counter(
    "quizstream_stream_table_keys_expired_total", "Keys deleted after their retention.", ["table"]
)
EXPIRY_HELD = Gauge(
    "quizstream_stream_table_expiry_held_ratio",
    "1 while keys past their retention stay, as the source topic still has their records.",
    ["table", "partition"],
)

# The group.
LAG = Gauge(
    "quizstream_stream_lag_records", "Records in the log after the last ended one.", ["topic", "partition"]
)
UNCOMMITTED = Gauge("quizstream_stream_uncommitted_seconds", "Age of the oldest ack that is not committed.")
REBALANCES = Counter("quizstream_stream_rebalances_total", "Rebalances that this worker took part in.")
RECOVERY_SECONDS = Histogram(
    "quizstream_stream_recovery_seconds",
    "Time from the start of a rebalance until tables are recovered and records are processed again.",
    buckets=(*_SECONDS, 60, 120, 300, 600),
)
