"""All metrics of the sender. Label `number` is the provider's phone number id, which is not personal data."""

from __future__ import annotations

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class SenderMetrics:
    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.running = Gauge(
            "quizstream_sender_running",
            "Calls in flight, results not durable included.",
            ["number"],
            registry=registry,
        )
        self.queued = Gauge(
            "quizstream_sender_queued",
            "Leased deliveries that wait for the pace.",
            ["number"],
            registry=registry,
        )
        self.reservoir = Gauge(
            "quizstream_sender_reservoir",
            "Calls that the rate window has room for.",
            ["number"],
            registry=registry,
        )
        self.numbers = Gauge("quizstream_sender_numbers", "Sending numbers in use.", registry=registry)
        self.deliveries = Gauge(
            "quizstream_sender_deliveries",
            "Deliveries that are waiting, leased, calling or ambiguous.",
            ["state"],
            registry=registry,
        )
        self.held = Gauge(
            "quizstream_sender_held",
            "1 while this reason holds up all sending; quizstream doctor shows what to do.",
            ["reason"],
            registry=registry,
        )
        self.claimed = Counter("quizstream_sender_claimed", "Deliveries leased.", registry=registry)
        self.attempts = Counter("quizstream_sender_attempts", "Deliveries marked calling.", registry=registry)
        self.not_marked = Counter(
            "quizstream_sender_not_marked",
            "Leased deliveries that could not be marked, by their new state.",
            ["state"],
            registry=registry,
        )
        self.outcomes = Counter(
            "quizstream_sender_outcomes", "Ends of calls.", ["outcome", "code"], registry=registry
        )
        self.unlisted_codes = Counter(
            "quizstream_sender_unlisted_codes",
            "Rejections with a code that the provider's package does not list.",
            ["provider", "code"],
            registry=registry,
        )
        self.lookups = Counter(
            "quizstream_sender_lookups",
            "Ambiguous attempts looked up at their provider.",
            ["result"],
            registry=registry,
        )
        self.campaigns_stopped = Counter(
            "quizstream_sender_campaigns_stopped",
            "Campaigns stopped after sender.rejected_alike_max rejections alike in a row.",
            registry=registry,
        )
        self.not_sendable = Counter(
            "quizstream_sender_not_sendable",
            "Deliveries without a phone or a whole message.",
            registry=registry,
        )
        self.values_changed = Counter(
            "quizstream_sender_values_changed",
            "Messages in which a contact's text lost a link, or gave way: too long, or rejected.",
            ["change"],
            registry=registry,
        )
        self.unreachable = Counter(
            "quizstream_sender_unreachable",
            "Connections that could not be opened.",
            ["number"],
            registry=registry,
        )
        self.number_losses = Counter(
            "quizstream_sender_number_losses", "Numbers lost while in use.", registry=registry
        )
        self.credentials_missing = Gauge(
            "quizstream_sender_credentials_missing",
            "Credentials of active numbers that are not in the environment.",
            registry=registry,
        )
        self.handed_back = Counter(
            "quizstream_sender_handed_back",
            "Leases ended without a call: queue wait, number lost, stop.",
            registry=registry,
        )
        self.rerouted = Counter(
            "quizstream_sender_rerouted",
            "Waiting deliveries that were moved to another number, by the number that they left.",
            ["number"],
            registry=registry,
        )
        self.reclaimed = Counter(
            "quizstream_sender_reclaimed",
            "Expired leases, by the state they had.",
            ["state"],
            registry=registry,
        )
        self.budget_limit = Gauge(
            "quizstream_sender_budget_limit",
            "People of a portfolio, or messages of a session number, in any 24 h.",
            ["budget"],
            registry=registry,
        )
        self.budget_used = Gauge(
            "quizstream_sender_budget_used",
            "Of the limit of 24 h, what is counted now.",
            ["budget"],
            registry=registry,
        )
        self.budget_waiting = Gauge(
            "quizstream_sender_budget_waiting",
            "Deliveries that need a place in the budget.",
            ["budget"],
            registry=registry,
        )
        self.budget_ends_in_s = Gauge(
            "quizstream_sender_budget_ends_in_seconds",
            "Forecast: when the last delivery that waits will have its place.",
            ["budget"],
            registry=registry,
        )
        self.database_errors = Counter(
            "quizstream_sender_database_errors", "Failed transactions.", ["step"], registry=registry
        )
        self.call_seconds = Histogram(
            "quizstream_sender_call_seconds",
            "From the mark to the answer.",
            buckets=SECONDS,
            registry=registry,
        )
