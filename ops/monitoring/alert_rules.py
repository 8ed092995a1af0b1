"""Generates the alert rules for Prometheus from the topology's thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ops.monitoring.dashboard import cache_stale_ratio, edge_error_ratio
from pipeline.topology.model import Topology

# Processes whose containers Prometheus finds by name, as ops/monitoring/generate.py has them: one must run.
NEEDED = ("edge", "worker", "postgres-sink", "whatsapp-sender", "webhook-sender")

ENDPOINT_FAILS_S_MAX = 86_400  # an endpoint of a tenant; it is disabled after webhooks.disable_failing_h


@dataclass(frozen=True)
class Alert:
    """An alert. `summary`: the condition; `action`: the first step; `for_s`: how long it must last."""

    name: str
    expr: str
    for_s: int
    severity: str
    summary: str
    action: str


def alerts(topology: Topology) -> tuple[Alert, ...]:
    limits = topology.alerts
    # A sum over no series has no value, and would remove the value of the whole expression. Where the stream
    # completes no records at all, any dead letter of a sink is above every ratio.
    dead_ratio = (
        "((sum(rate(quizstream_stream_poison_total[5m])) or vector(0))"
        " + (sum(rate(quizstream_sink_dead_letters_total[5m])) or vector(0)))"
        " / (sum(rate(quizstream_stream_records_total[5m])) or vector(0))"
    )
    refused_calls = (
        'sum(rate(quizstream_sender_outcomes_total{outcome!="sent"}[5m])) / '
        "sum(rate(quizstream_sender_outcomes_total[5m]))"
    )
    unlisted = "quizstream_sender_unlisted_codes_total"
    undecodable = "quizstream_reference_data_undecodable_total"
    return (
        Alert(
            "QuizstreamLagRecords",
            f"quizstream_lag_records > {limits.lag_records_max}",
            120,
            "warning",
            "{{ $labels.group }} lags {{ $value }} records on {{ $labels.topic }}",
            "Run `quizstream lag`; check that the reading process runs, and its log.",
        ),
        Alert(
            "QuizstreamLagSeconds",
            f"quizstream_lag_seconds > {limits.lag_s_max:g}",
            120,
            "critical",
            "{{ $labels.group }} lags {{ $value }} s on {{ $labels.topic }}",
            "Run `quizstream lag`; check that the reading process runs, and its log.",
        ),
        Alert(
            "QuizstreamLagUnknown",
            "absent(quizstream_lag_records)",
            120,
            "critical",
            "the consumer lag is not measured",
            "Check the brokers and the supervisor (or `lag` exporter), which measures it.",
        ),
        Alert(
            "QuizstreamProcessDown",
            'up{job="quizstream"} == 0',
            60,
            "critical",
            "{{ $labels.process }} is unreachable",
            "Run `quizstream doctor`.",
        ),
        Alert(
            "QuizstreamProcessMissing",
            # A container that has ended is not a target any more, so its `up` is absent, not 0.
            " or ".join(f'absent(up{{job="quizstream",process="{name}"}})' for name in NEEDED),
            60,
            "critical",
            "no {{ $labels.process }} runs",
            "Run `quizstream doctor`; start it again.",
        ),
        Alert(
            "QuizstreamProcessRestarts",
            'changes(process_start_time_seconds{job="quizstream"}[15m]) > 3',
            0,
            "critical",
            "{{ $labels.process }} restarts repeatedly",
            "Read the end of its log.",
        ),
        Alert(
            "QuizstreamEdgeErrors",
            f"{edge_error_ratio()} > {limits.error_ratio_max:g}",
            120,
            "critical",
            "{{ $value | humanizePercentage }} of the edge's answers are errors",
            "503 of completions: Kafka is unavailable, and clients retry. Of quiz pages: PostgreSQL is.",
        ),
        Alert(
            "QuizstreamLimitsLocal",
            "max(quizstream_edge_limits_local) > 0",
            60,
            "warning",
            "the edge applies its rate limits without Valkey",
            "Completions are accepted, limits are not exact: restore Valkey; check its memory.",
        ),
        Alert(
            "QuizstreamAbuseBlocked",
            'max(quizstream_abuse_verdicts{kind="address",state="blocked"}) > 0',
            0,
            "warning",
            "{{ $value }} addresses are blocked for abuse",
            "Run `quizstream abuse list`; release who is honest, trust or raise the limit of who is many.",
        ),
        Alert(
            "QuizstreamAbuseAlone",
            "max(quizstream_abuse_alone) > 0",
            60,
            "warning",
            "edge processes judge abuse without Valkey, each by what it sees itself",
            "Restore Valkey; verdicts that are in force stay.",
        ),
        Alert(
            "QuizstreamCacheStale",
            f"{cache_stale_ratio()} > {limits.error_ratio_max:g}",
            120,
            "warning",
            "{{ $value | humanizePercentage }} of {{ $labels.namespace }} are stale copies or missing",
            "Their source fails or is slow: check PostgreSQL, and the edge's log.",
        ),
        Alert(
            "QuizstreamDeadLetters",
            f"{dead_ratio} > {limits.error_ratio_max:g}",
            120,
            "warning",
            "{{ $value | humanizePercentage }} of the records become dead letters",
            "Run `quizstream dead-letters list` for the reasons.",
        ),
        Alert(
            "QuizstreamSendErrors",
            f"{refused_calls} > {limits.error_ratio_max:g}",
            300,
            "warning",
            "{{ $value | humanizePercentage }} of the calls to the provider send no message",
            "Check the outcomes by code, then the number's quality and limits at the provider.",
        ),
        Alert(
            "QuizstreamUnlistedProviderCode",
            _counted_within(unlisted, "1h", by="provider, code"),
            0,
            "warning",
            "{{ $labels.provider }} rejects messages with the unlisted code {{ $labels.code }}",
            "Each such delivery fails: list the code with an action in the provider's package.",
        ),
        Alert(
            "QuizstreamOptOutsUnresolved",
            _more_than_a_day_ago('quizstream_inbound_unresolved{consent="stop"}'),
            300,
            "warning",
            "{{ $value }} opt-outs lead to no contact: they are not in force yet",
            "Run `quizstream suppression inbound --unresolved`; each is applied once its person is known.",
        ),
        Alert(
            "QuizstreamWebhookNoticesUnresolved",
            _more_than_a_day_ago("quizstream_webhook_notices_unresolved"),
            300,
            "warning",
            "{{ $value }} notices of a provider lead to no sender number: what they demand is not in force",
            "Run `quizstream number notices --outcome unresolved`; hold the numbers of the account by hand.",
        ),
        Alert(
            "QuizstreamWebhooksLate",
            f"max(quizstream_webhook_late_seconds) > {limits.lag_s_max:g}",
            300,
            "warning",
            "a webhook of a tenant has been due for {{ $value }} s",
            "Read the log of webhook-sender; an endpoint that answers slowly: `quizstream webhook pause`.",
        ),
        Alert(
            "QuizstreamWebhookEndpointFailing",
            f"max(quizstream_webhook_failing_seconds) > {ENDPOINT_FAILS_S_MAX}",
            300,
            "warning",
            "an endpoint of a tenant has taken no webhook for {{ $value | humanizeDuration }}",
            "Run `quizstream webhook list` for its tenant, who must repair it before it is disabled.",
        ),
        Alert(
            "QuizstreamWebhooksGivenUp",
            _counted_within('quizstream_webhook_messages_ended_total{state="given_up"}', "1h", by="state"),
            0,
            "warning",
            "webhooks are given up: more of a tenant wait than webhooks.pending_of_tenant_max",
            "Run `quizstream webhook list` for its tenant: the endpoint with the backlog shows how many.",
        ),
        Alert(
            "QuizstreamSessionLost",
            'max by (provider) (quizstream_numbers_held{state="session_lost"}) > 0',
            300,
            "warning",
            "{{ $value }} numbers of {{ $labels.provider }} have no session with WhatsApp and send nothing",
            "Run `quizstream number list`; one that does not come back by itself: pair it again.",
        ),
        Alert(
            "QuizstreamNumberQuarantined",
            'max by (provider) (quizstream_numbers_held{state="quarantined"}) > 0',
            0,
            "critical",
            "{{ $value }} numbers of {{ $labels.provider }} are quarantined: the provider reported a ban",
            "Run `quizstream number list` for the reason; `number release` only once WhatsApp accepts it.",
        ),
        Alert(
            "QuizstreamAmbiguousDeliveries",
            'max(quizstream_sender_deliveries{state="ambiguous"}) > 0',
            900,
            "warning",
            "{{ $value }} deliveries may or may not have been sent",
            "They are never resent automatically: wait for the provider's status, or look them up there.",
        ),
        Alert(
            "QuizstreamSendingHeld",
            # An empty deployment has no number and needs none.
            'max by (reason) (quizstream_sender_held{reason!="no_number"}) > 0'
            ' or max by (reason) (quizstream_sender_held{reason="no_number"}) > 0'
            ' and on () max(quizstream_sender_deliveries{state="waiting"}) > 0',
            300,
            "warning",
            "nothing is sent: {{ $labels.reason }}",
            "Run `quizstream doctor`: its check of sending has the cause and the remedy.",
        ),
        Alert(
            "QuizstreamOutboxStuck",
            f"max(quizstream_outbox_age_seconds) > {limits.lag_s_max:g}",
            120,
            "critical",
            "the oldest outbox row has waited {{ $value }} s",
            "Check that the Postgres sink runs and reaches Kafka.",
        ),
        Alert(
            "QuizstreamOutboxWithoutLeader",
            "(sum(quizstream_outbox_leader) or vector(0)) < 1",
            120,
            "critical",
            "no process publishes the outbox",
            "Read the log of the Postgres sink.",
        ),
        Alert(
            "QuizstreamOutboxSetAside",
            "max(quizstream_outbox_set_aside) > 0",
            0,
            "warning",
            "{{ $value }} changes do not reach the stream: they are larger than their topic takes",
            "Run `quizstream doctor`: its check of the outbox names them and the remedy.",
        ),
        Alert(
            "QuizstreamFactsBad",
            _counted_within(undecodable, "15m", by="process, role"),
            0,
            "critical",
            "{{ $labels.process }} cannot decode a record of {{ $labels.role }}",
            "Find partition and offset in its log; save the quiz, campaign or token again.",
        ),
    )


def _counted_within(counter: str, window: str, by: str) -> str:
    """The counter has grown, also where its first sample shows it already: increase() is 0 then."""
    return (
        f"sum by ({by}) (increase({counter}[{window}])) > 0"
        f" or sum by ({by}) ({counter} unless {counter} offset {window}) > 0"
    )


def _more_than_a_day_ago(gauge: str) -> str:
    """New ones alert; older ones would alert without limit, since only the person can end them."""
    return f"max({gauge}) > (max({gauge} offset 1d) or vector(0))"


def render(topology: Topology) -> dict[str, Any]:
    """Return the content of the rule file."""
    return {
        "groups": [
            {
                "name": "quizstream",
                "rules": [
                    {
                        "alert": alert.name,
                        "expr": alert.expr,
                        "for": f"{alert.for_s}s",
                        "labels": {"severity": alert.severity},
                        "annotations": {"summary": alert.summary, "action": alert.action},
                    }
                    for alert in alerts(topology)
                ],
            }
        ]
    }
