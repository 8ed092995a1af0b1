"""All metrics of the sinks and of the outbox publisher."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

RECORDS = Counter(
    "quizstream_sink_records_total", "Records whose effects and offset are committed in Postgres.", ["sink"]
)
ROWS = Counter("quizstream_sink_rows_total", "New rows of committed batches.", ["sink"])
REPEATS = Counter(
    "quizstream_sink_repeats_total", "Events that were stored before: replays and retries.", ["sink"]
)
REFUSED = Counter(
    "quizstream_sink_dead_letters_total", "Records sent to the dead letters, by the step that failed.",
    ["sink", "step"],
)  # fmt: skip
BATCH_S = Histogram(
    "quizstream_sink_batch_seconds",
    "Time from a decoded batch to its commit in Postgres.",
    ["sink"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
AGE_S = Gauge(
    "quizstream_sink_age_seconds",
    "Age of the last batch's newest record at its commit.",
    ["sink"],
)
LAG_RECORDS = Gauge(
    "quizstream_sink_lag_records", "Records of the topic that are not stored yet.", ["sink", "partition"]
)
SETBACKS = Counter(
    "quizstream_sink_setbacks_total", "Batches that failed and are read again, by cause.", ["sink", "cause"]
)
HOLDING = Gauge(
    "quizstream_sink_holding", "1 while the sink waits because Postgres or Kafka is unavailable.", ["sink"]
)
PARTITIONS_MADE = Counter("quizstream_partitions_created_total", "Table partitions created ahead.")
DEAD_LETTER_PAYLOADS_ERASED = Counter(
    "quizstream_dead_letter_payloads_erased_total",
    "Dead letters whose key and value were erased after their retention, by their state then.",
    ["state"],
)
DEAD_LETTER_ROWS_DELETED = Counter(
    "quizstream_dead_letter_rows_deleted_total", "Rows of dead letters deleted after their retention."
)
TABLE_ROWS_DELETED = Counter(
    "quizstream_table_rows_deleted_total",
    "Rows deleted after their retention; of partitions the planner's estimate.",
    ["table"],
)
TABLE_OLDEST_S = Gauge(
    "quizstream_table_oldest_row_seconds",
    "Age of the oldest row kept in the last complete pass over the table or in this one, in whole days.",
    ["table"],
)
TABLE_ROWS_HELD = Gauge(
    "quizstream_table_rows_held_back",
    "Rows past their retention that an open delivery may need, as of the last complete pass.",
    ["table"],
)
PARTITION_DROPS_POSTPONED = Counter(
    "quizstream_partition_drops_postponed_total",
    "Partitions past their retention that were not dropped because their table was in use.",
    ["table"],
)
ENDED_DELIVERIES_CANCELLED = Counter(
    "quizstream_ended_deliveries_cancelled_total",
    "Waiting deliveries that were cancelled because their campaign ended long ago.",
)
STATUSES_MERGED = Counter(
    "quizstream_statuses_merged_total", "Provider statuses that changed a delivery, by status.", ["status"]
)
STATUSES_WAITING = Gauge(
    "quizstream_statuses_waiting", "Provider statuses whose delivery is unknown or not final yet."
)
OPT_OUTS = Counter("quizstream_opt_outs_total", "Contacts newly suppressed by an opt-out at the provider.")
WEBHOOK_ACTIONS = Counter(
    "quizstream_webhook_actions_total",
    "Errors that webhooks reported, by the action that follows from their code.",
    ["action"],
)
WEBHOOK_NOTICES = Counter(
    "quizstream_webhook_notices_total",
    "Webhooks about accounts, numbers and templates, by kind and event: `quizstream number notices`.",
    ["kind", "event"],
)
WEBHOOK_NOTICES_UNRESOLVED = Gauge(
    "quizstream_webhook_notices_unresolved",
    "Notices of an account that lead to no sender number: a hold or stop among them is not in force.",
)
NUMBERS_HELD = Gauge(
    "quizstream_numbers_held",
    "Sender numbers that do not send: `session_lost` until the session is back, others until a release.",
    ["provider", "state"],
)
INBOUND = Counter(
    "quizstream_inbound_events_total",
    "New events of people at a provider: messages, preferences, changes of number; by kind and consent.",
    ["kind", "consent"],
)
INBOUND_UNRESOLVED = Gauge(
    "quizstream_inbound_unresolved",
    "Events of people that lead to no contact, by consent: an opt-out among them is not in force yet.",
    ["consent"],
)
INBOUND_DELETED = Counter(
    "quizstream_inbound_events_deleted_total", "Events of people deleted after their retention."
)
ALIASES_LEARNED = Counter(
    "quizstream_contact_aliases_learned_total", "Ids of people that lead to a contact, by source.", ["source"]
)
CONTACTS_UNITED = Counter(
    "quizstream_contacts_united_total", "Contacts that proved to be a person who has another contact id."
)
WEBHOOKS_ODD = Counter(
    "quizstream_webhooks_odd_total", "Parts of webhook bodies that could not be parsed and were skipped."
)
WEBHOOK_NOTICES_OVER = Counter(
    "quizstream_webhook_notices_over_total",
    "Notices beyond those that one webhook body may have; they are in the body only.",
)
OUTBOX_REJECTED = Counter(
    "quizstream_outbox_refused_total", "Events of the tenant API that were not of their tenant, and deleted."
)
OUTBOX_PUBLISHED = Counter("quizstream_outbox_published_total", "Outbox rows delivered to Kafka.", ["topic"])
OUTBOX_DEPTH = Gauge("quizstream_outbox_depth", "Outbox rows not published yet; counted up to a limit.")
OUTBOX_AGE_S = Gauge("quizstream_outbox_age_seconds", "Age of the oldest outbox row that is not published.")
OUTBOX_SET_ASIDE = Gauge(
    "quizstream_outbox_set_aside",
    "Outbox rows that are larger than their topic takes, and wait for an operator.",
)
OUTBOX_LEADER = Gauge("quizstream_outbox_leader", "1 in the one process that publishes the outbox.")
OUTBOX_SETBACKS = Counter(
    "quizstream_outbox_setbacks_total",
    "Publishing rounds that failed because Kafka or Postgres was unavailable.",
    ["cause"],
)
RECOVERING = Gauge(
    "quizstream_recovering", "1 while sending is stopped because the ledger was restored from an older copy."
)
UNPLACED = Gauge(
    "quizstream_recovered_deliveries_unplaced",
    "Deliveries with events in Kafka and without a row in the restored ledger.",
)
