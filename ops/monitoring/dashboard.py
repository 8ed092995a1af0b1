"""Generates the Grafana dashboard from the topology: lag, throughput, latency and failures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.topology.model import Topology

DATASOURCE = {"type": "prometheus", "uid": "quizstream-prometheus"}
UID = "quizstream"
WIDTH = 24  # Grafana's grid
PANEL_HEIGHT = 8


@dataclass(frozen=True)
class Query:
    expr: str
    legend: str


@dataclass(frozen=True)
class Panel:
    """A panel. `unit`: Grafana's name of a unit; above `red` the graph is red."""

    title: str
    about: str
    queries: tuple[Query, ...]
    unit: str = "short"
    red: float | None = None
    stacked: bool = False


@dataclass(frozen=True)
class Row:
    title: str
    panels: tuple[Panel, ...]


def rows(topology: Topology) -> tuple[Row, ...]:
    """Return all panels, top to bottom; `render` only computes the layout."""
    return (
        *(_lag(topology), _flow(), _verdicts(), _webhooks(topology)),
        *(_edge(topology), _stream(), _failures(), _processes()),
    )


def _lag(topology: Topology) -> Row:
    def of(metric: str) -> tuple[Query, ...]:
        # Not filtered: a new agent or sink needs no change here.
        return (Query(f"max by (group, topic) ({metric})", "{{group}} {{topic}}"),)

    return Row(
        "Lag",
        (
            Panel(
                "Lag, records",
                "Records that each agent and sink has not read yet, from the brokers' offsets.",
                of("quizstream_lag_records"),
                red=topology.alerts.lag_records_max,
            ),
            Panel(
                "Lag, seconds",
                "Age of the oldest record that was not read yet.",
                of("quizstream_lag_seconds"),
                unit="s",
                red=topology.alerts.lag_s_max,
            ),
            Panel(
                "Reference data and outbox",
                "Reference records not read yet by a process, outbox rows not published, age of the oldest.",
                (
                    Query(
                        "max by (process, role) (quizstream_reference_data_lag_records)",
                        "{{process}} {{role}}",
                    ),
                    Query("max(quizstream_outbox_depth)", "outbox rows"),
                    Query("max(quizstream_outbox_age_seconds)", "outbox, oldest (s)"),
                ),
            ),
        ),
    )


def _flow() -> Row:
    return Row(
        "Throughput",
        (
            Panel(
                "Edge, requests/s",
                "Answers by status.",
                (Query("sum by (status) (rate(quizstream_edge_requests_total[1m]))", "{{status}}"),),
                unit="reqps",
                stacked=True,
            ),
            Panel(
                "Stream, records/s",
                "Records completed by each agent.",
                (Query("sum by (stage) (rate(quizstream_stream_records_total[1m]))", "{{stage}}"),),
                unit="ops",
            ),
            Panel(
                "Sinks, records/s",
                "Records whose rows and offset are committed.",
                (Query("sum by (sink) (rate(quizstream_sink_records_total[1m]))", "{{sink}}"),),
                unit="ops",
            ),
            Panel(
                "Sender, calls/s",
                "Completed calls to the provider, by outcome.",
                (Query("sum by (outcome) (rate(quizstream_sender_outcomes_total[1m]))", "{{outcome}}"),),
                unit="ops",
                stacked=True,
            ),
        ),
    )


def _verdicts() -> Row:
    return Row(
        "Verdicts and deliveries",
        (
            Panel(
                "Verdicts/s",
                "Verdicts of completions, without repeats.",
                (Query("sum by (verdict) (rate(quizstream_verdicts_total[1m]))", "{{verdict}}"),),
                unit="ops",
                stacked=True,
            ),
            Panel(
                "Matches/s",
                "Deliveries: the first match of a (campaign, contact). Duplicates: later ones.",
                (
                    Query("sum(rate(quizstream_deliveries_total[1m]))", "deliveries"),
                    Query("sum(rate(quizstream_duplicates_total[1m]))", "duplicates"),
                ),
                unit="ops",
            ),
            Panel(
                "Open deliveries by state",
                "Rows of the ledger. Ambiguous ones wait for a provider status or an operator.",
                (Query("max by (state) (quizstream_sender_deliveries)", "{{state}}"),),
                stacked=True,
            ),
            Panel(
                "Completed deliveries/s",
                "Calls that sent a message, and the statuses that the provider reported.",
                (
                    Query('sum(rate(quizstream_sender_outcomes_total{outcome="sent"}[1m]))', "sent"),
                    Query(
                        "sum by (status) (rate(quizstream_statuses_merged_total[1m]))", "status {{status}}"
                    ),
                ),
                unit="ops",
            ),
        ),
    )


def _webhooks(topology: Topology) -> Row:
    call_s = "sum by (le) (rate(quizstream_webhook_call_seconds_bucket[5m]))"
    return Row(
        "Webhooks to tenants",
        (
            Panel(
                "Webhooks, calls/s",
                "Calls of tenants' endpoints, by their end.",
                (Query("sum by (outcome) (rate(quizstream_webhook_attempts_total[1m]))", "{{outcome}}"),),
                unit="ops",
                stacked=True,
            ),
            Panel(
                "Webhooks that wait",
                "All, counted up to 100,000, and those of the tenant with the most; it has a bound.",
                (
                    Query("max(quizstream_webhook_waiting)", "all"),
                    Query("max(quizstream_webhook_waiting_of_tenant)", "of one tenant"),
                ),
                red=topology.webhooks.pending_of_tenant_max,
            ),
            Panel(
                "Webhooks, delay",
                "How long one has been due, of endpoints that take webhooks; time of a call.",
                (
                    Query("max(quizstream_webhook_late_seconds)", "due"),
                    Query(f"histogram_quantile(0.95, {call_s})", "call, p95"),
                ),
                unit="s",
                red=topology.alerts.lag_s_max,
            ),
            Panel(
                "Webhooks, endpoints that fail",
                "Open circuit breakers of a process, and hours since the first failure in a row.",
                (
                    Query("max(quizstream_webhook_circuits_open)", "circuit breakers open"),
                    Query("max(quizstream_webhook_failing_seconds) / 3600", "failing (h)"),
                ),
            ),
        ),
    )


def _edge(topology: Topology) -> Row:
    quantiles = tuple(
        Query(
            f"histogram_quantile({quantile}, sum by (le) (rate(quizstream_edge_request_seconds_bucket[1m])))",
            f"p{quantile * 100:g}",
        )
        for quantile in (0.5, 0.95, 0.99)
    )
    return Row(
        "Edge",
        (
            Panel("Answer time", "Time to the answer, including the wait for Kafka.", quantiles, unit="s"),
            Panel(
                "Error ratio",
                "Answers of 500 and above.",
                (Query(edge_error_ratio(), "5xx"),),
                unit="percentunit",
                red=topology.alerts.error_ratio_max,
            ),
            Panel(
                "In flight and circuit breaker",
                "Requests that wait for Kafka; circuit breaker: 0 closed, 1 half open, 2 open.",
                (
                    Query("sum(quizstream_edge_in_flight)", "in flight"),
                    Query("max(quizstream_edge_breaker_state)", "breaker"),
                ),
            ),
            Panel(
                "Rejected/s",
                "By problem type.",
                (Query("sum by (problem) (rate(quizstream_edge_refused_total[1m]))", "{{problem}}"),),
                unit="ops",
            ),
            Panel(
                "Rate limits",
                "Decided by Valkey, by a process alone while it is unavailable, or remembered.",
                (Query("sum by (by) (rate(quizstream_edge_limit_decisions_total[1m]))", "{{by}}"),),
                unit="ops",
            ),
            Panel(
                "Cache",
                "Hits of each namespace, at both levels; and answers that its source failed to give.",
                (
                    Query(cache_hit_ratio(), "{{namespace}} hits"),
                    Query(cache_stale_ratio(), "{{namespace}} stale"),
                ),
                unit="percentunit",
            ),
            Panel(
                "Connections",
                "Open connections of clients, and their limit.",
                (
                    Query("sum(quizstream_edge_connections)", "open"),
                    Query("sum(quizstream_edge_connections_max)", "limit"),
                ),
            ),
        ),
    )


def _stream() -> Row:
    def mean(name: str) -> str:
        return (
            f"sum by (stage) (rate(quizstream_stream_{name}_seconds_sum[1m])) / "
            f"sum by (stage) (rate(quizstream_stream_{name}_seconds_count[1m]))"
        )

    return Row(
        "Stream",
        (
            Panel(
                "Where a chunk's time goes",
                "Mean of a chunk.",
                tuple(Query(mean(part), f"{{{{stage}}}} {part}") for part in ("process", "deliver", "write")),
                unit="s",
            ),
            Panel(
                "Commits and rebalances",
                "Age of the oldest ack that is not committed; rebalances in ten minutes.",
                (
                    Query("max by (process) (quizstream_stream_uncommitted_seconds)", "uncommitted (s)"),
                    Query("sum(increase(quizstream_stream_rebalances_total[10m]))", "rebalances"),
                ),
            ),
        ),
    )


def _failures() -> Row:
    return Row(
        "Failures",
        (
            Panel(
                "Dead letters",
                "In five minutes, by stage or sink.",
                (
                    Query("sum by (stage) (increase(quizstream_stream_poison_total[5m]))", "stage {{stage}}"),
                    Query(
                        "sum by (sink) (increase(quizstream_sink_dead_letters_total[5m]))", "sink {{sink}}"
                    ),
                ),
            ),
            Panel(
                "Repeated work",
                "In five minutes: batches and rounds that failed and were retried.",
                (
                    Query(
                        "sum by (sink, cause) (increase(quizstream_sink_setbacks_total[5m]))",
                        "sink {{sink}} {{cause}}",
                    ),
                    Query(
                        "sum by (cause) (increase(quizstream_outbox_setbacks_total[5m]))", "outbox {{cause}}"
                    ),
                    Query(
                        "sum by (stage) (increase(quizstream_stream_delivery_failures_total[5m]))",
                        "stage {{stage}}",
                    ),
                    Query(
                        "sum by (step) (increase(quizstream_sender_database_errors_total[5m]))",
                        "sender {{step}}",
                    ),
                ),
            ),
            Panel(
                "Kafka errors of the edge",
                "Errors of the edge's producer in five minutes.",
                (Query("sum by (code) (increase(quizstream_edge_produce_errors_total[5m]))", "{{code}}"),),
            ),
        ),
    )


def _processes() -> Row:
    return Row(
        "Processes",
        (
            Panel("Up", "1 while Prometheus can scrape it.", (Query("up", "{{process}}"),)),
            Panel(
                "Restarts",
                "In an hour.",
                (Query("changes(process_start_time_seconds[1h])", "{{process}}"),),
            ),
            Panel(
                "CPU",
                "Cores in use.",
                (Query("rate(process_cpu_seconds_total[1m])", "{{process}}"),),
            ),
            Panel(
                "Memory",
                "Resident.",
                (Query("process_resident_memory_bytes", "{{process}}"),),
                unit="bytes",
            ),
        ),
    )


def edge_error_ratio() -> str:
    return (
        '(sum(rate(quizstream_edge_requests_total{status=~"5.."}[5m])) or vector(0)) / '
        "sum(rate(quizstream_edge_requests_total[5m]))"
    )


def cache_stale_ratio() -> str:
    """Of the answers of each namespace of a cache."""
    return (
        'sum by (namespace) (rate(quizstream_cache_answers_total{level=~"stale|failed"}[5m])) / '
        "sum by (namespace) (rate(quizstream_cache_answers_total[5m]))"
    )


def cache_hit_ratio() -> str:
    return (
        'sum by (namespace) (rate(quizstream_cache_answers_total{level=~"process|valkey"}[5m])) / '
        "sum by (namespace) (rate(quizstream_cache_answers_total[5m]))"
    )


def render(topology: Topology) -> dict[str, Any]:
    """Return the dashboard in Grafana's JSON model."""
    panels: list[dict[str, Any]] = []
    y = 0
    for row in rows(topology):
        panels.append(_row(row, len(panels) + 1, y))
        y += 1
        width = WIDTH // len(row.panels)
        for column, panel in enumerate(row.panels):
            grid = {"x": column * width, "y": y, "w": width, "h": PANEL_HEIGHT}
            panels.append(_panel(panel, len(panels) + 1, grid))
        y += PANEL_HEIGHT
    return {
        "uid": UID,
        "title": "quizstream",
        "tags": ["quizstream"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "timezone": "utc",
        "panels": panels,
    }


def _row(row: Row, panel_id: int, y: int) -> dict[str, Any]:
    return {
        "id": panel_id,
        "type": "row",
        "title": row.title,
        "collapsed": False,
        "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1},
        "panels": [],
    }


def _panel(panel: Panel, panel_id: int, grid: dict[str, int]) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.red is not None:
        steps.append({"color": "red", "value": panel.red})
    custom: dict[str, Any] = {"showPoints": "never", "fillOpacity": 20 if panel.stacked else 0}
    if panel.stacked:
        custom["stacking"] = {"mode": "normal", "group": "A"}
    if panel.red is not None:
        custom["thresholdsStyle"] = {"mode": "line"}
    return {
        "id": panel_id,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.about,
        "datasource": DATASOURCE,
        "gridPos": grid,
        "fieldConfig": {
            "defaults": {
                "unit": panel.unit,
                "min": 0,
                "custom": custom,
                "thresholds": {"mode": "absolute", "steps": steps},
            },
            "overrides": [],
        },
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": _targets(panel.queries),
    }


def _targets(queries: Sequence[Query]) -> list[dict[str, Any]]:
    return [
        {
            "refId": chr(ord("A") + index),
            "datasource": DATASOURCE,
            "expr": query.expr,
            "legendFormat": query.legend,
        }
        for index, query in enumerate(queries)
    ]
