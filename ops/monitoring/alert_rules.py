"""Prometheus's alert rules, made from the topology's thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ops.monitoring.dashboard import edge_error_ratio
from pipeline.topology.model import Topology


@dataclass(frozen=True)
class Alert:
    """`summary` says what is so, `action` where to look first. `for_s` bounds how long a blip may last."""

    name: str
    expr: str
    for_s: int
    severity: str
    summary: str
    action: str


def alerts(topology: Topology) -> tuple[Alert, ...]:
    limits = topology.alerts
    # A sum over nothing is nothing, and would make a sum of sums nothing, too.
    dead_ratio = (
        "((sum(rate(quizstream_stream_poison_total[5m])) or vector(0))"
        " + (sum(rate(quizstream_sink_dead_letters_total[5m])) or vector(0)))"
        " / sum(rate(quizstream_stream_records_total[5m]))"
    )
    refused_calls = (
        'sum(rate(quizstream_sender_outcomes_total{outcome!="sent"}[5m])) / '
        "sum(rate(quizstream_sender_outcomes_total[5m]))"
    )
    # increase() is 0 for a counter whose first sample is 1: a series without a past counts by itself.
    unlisted = "quizstream_sender_unlisted_codes_total"
    unlisted_codes = (
        f"sum by (provider, code) (increase({unlisted}[1h])) > 0"
        f" or sum by (provider, code) ({unlisted} unless {unlisted} offset 1h) > 0"
    )
    return (
        Alert(
            "QuizstreamLagRecords",
            f"quizstream_lag_records > {limits.lag_records_max}",
            120,
            "warning",
            "{{ $labels.group }} is {{ $value }} records behind on {{ $labels.topic }}",
            "quizstream lag; then the process that reads it: is it up, and what does its log say?",
        ),
        Alert(
            "QuizstreamLagSeconds",
            f"quizstream_lag_seconds > {limits.lag_s_max:g}",
            120,
            "critical",
            "{{ $labels.group }} is {{ $value }} s behind on {{ $labels.topic }}",
            "quizstream lag; then the process that reads it: is it up, and what does its log say?",
        ),
        Alert(
            "QuizstreamLagUnknown",
            "absent(quizstream_lag_records)",
            120,
            "critical",
            "nobody knows how far behind anything is",
            "Are the brokers and the process that measures the lag up?",
        ),
        Alert(
            "QuizstreamProcessDown",
            'up{job="quizstream"} == 0',
            60,
            "critical",
            "{{ $labels.process }} is not reached",
            "quizstream doctor",
        ),
        Alert(
            "QuizstreamProcessRestarts",
            'changes(process_start_time_seconds{job="quizstream"}[15m]) > 3',
            0,
            "critical",
            "{{ $labels.process }} starts again and again",
            "The end of its log says why.",
        ),
        Alert(
            "QuizstreamEdgeErrors",
            f"{edge_error_ratio()} > {limits.error_ratio_max:g}",
            120,
            "critical",
            "{{ $value | humanizePercentage }} of the edge's answers are errors",
            "503 means that Kafka is away; clients keep and retry.",
        ),
        Alert(
            "QuizstreamDeadLetters",
            f"{dead_ratio} > {limits.error_ratio_max:g}",
            120,
            "warning",
            "{{ $value | humanizePercentage }} of the records become dead letters",
            "The dead letters' reasons.",
        ),
        Alert(
            "QuizstreamSendErrors",
            f"{refused_calls} > {limits.error_ratio_max:g}",
            300,
            "warning",
            "{{ $value | humanizePercentage }} of the calls to the provider do not send",
            "The outcomes by code; then the number's quality and limits at the provider.",
        ),
        Alert(
            "QuizstreamUnlistedProviderCode",
            unlisted_codes,
            0,
            "warning",
            "{{ $labels.provider }} refuses messages with code {{ $labels.code }}, which is not listed",
            "Each such delivery fails: look the code up and list it, with an action, in its package.",
        ),
        Alert(
            "QuizstreamAmbiguousDeliveries",
            'max(quizstream_sender_deliveries{state="ambiguous"}) > 0',
            900,
            "warning",
            "{{ $value }} deliveries may or may not have been sent",
            "Never sent again by themselves: wait for the provider's status, or ask the provider.",
        ),
        Alert(
            "QuizstreamOutboxStuck",
            f"max(quizstream_outbox_age_seconds) > {limits.lag_s_max:g}",
            120,
            "critical",
            "the outbox's oldest row waits for {{ $value }} s",
            "Is there one leader, and is Kafka reached?",
        ),
        Alert(
            "QuizstreamOutboxWithoutLeader",
            "sum(quizstream_outbox_leader) < 1",
            120,
            "critical",
            "nobody publishes the outbox",
            "The Postgres sink's log.",
        ),
        Alert(
            "QuizstreamFactsBad",
            "increase(quizstream_reference_data_undecodable_total[15m]) > 0",
            0,
            "critical",
            "{{ $labels.process }} cannot decode reference data of {{ $labels.role }}",
            "Its log names the partition and offset; the object must be saved again.",
        ),
    )


def render(topology: Topology) -> dict[str, Any]:
    """The rule file as Prometheus takes it."""
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
