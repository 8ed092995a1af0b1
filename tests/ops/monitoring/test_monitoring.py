"""What Prometheus and Grafana read is made from the topology, and asks for what somebody exports."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec
import pytest
import yaml

from ops.monitoring import alert_rules, dashboard, generate
from ops.topics.lag import readers
from pipeline.topology.loader import load
from pipeline.topology.model import Topology
from tests.support.promtool import require_promtool

TOPOLOGY = load(Path(__file__).resolve().parents[3] / "topology.yaml")

# Made by Prometheus itself, or by its client in every process.
OF_EVERY_PROCESS = {
    "up": {"job", "process"},
    "process_start_time_seconds": {"job", "process"},
    "process_cpu_seconds_total": {"job", "process"},
    "process_resident_memory_bytes": {"job", "process"},
}
ADDED_BY_SCRAPE = {"process", "job", "instance", "le"}
METRIC = re.compile(r"\b(quizstream_\w+|process_\w+|up)\b(?:\{([^}]*)\})?")

CATALOGUES = """
import importlib, json
from prometheus_client import REGISTRY, CollectorRegistry
for name in ("pipeline.engine.metrics", "pipeline.runtime.reference_data", "pipeline.campaigns.registry",
             "pipeline.stages.metrics", "pipeline.cache.metrics",
             "ingest_api.http.metrics", "ingest_api.abuse.metrics",
             "sinks.postgres.metrics", "sinks.outbound.metrics", "ops.monitoring.lag_metrics"):
    importlib.import_module(name)
from sinks.delivery.metrics import SenderMetrics
SenderMetrics()
from ops.processes.metrics import Metrics
Metrics()
found = {}
for collector, names in REGISTRY._collector_to_names.items():
    for name in names:
        found[name] = list(getattr(collector, "_labelnames", ()))
print(json.dumps(found))
"""


@cache
def exported() -> dict[str, set[str]]:
    """Metric -> its labels, of every process; asked in one of its own, since a registry takes a name once."""
    ran = subprocess.run([sys.executable, "-c", CATALOGUES], capture_output=True, text=True, check=True)
    names: dict[str, list[str]] = json.loads(ran.stdout)
    return {name: {*labels, *ADDED_BY_SCRAPE} for name, labels in names.items()} | OF_EVERY_PROCESS


def expressions(topology: Topology = TOPOLOGY) -> list[str]:
    panels = [panel for row in dashboard.rows(topology) for panel in row.panels]
    return [
        *(query.expr for panel in panels for query in panel.queries),
        *(alert.expr for alert in alert_rules.alerts(topology)),
    ]


def test_the_committed_files_are_those_of_the_topology() -> None:
    for path, text in generate.files(TOPOLOGY).items():
        assert path.read_text() == text, f"{path.name}: write it with `python -m ops.monitoring.generate`"


@pytest.mark.parametrize("expr", sorted(set(expressions())))
def test_every_metric_and_label_that_is_asked_for_is_exported(expr: str) -> None:
    metrics = list(METRIC.finditer(expr))
    assert metrics
    labels: set[str] = set()
    for metric in metrics:
        assert metric[1] in exported(), f"nobody exports {metric[1]}"
        labels |= exported()[metric[1]]
        for matcher in filter(None, (metric[2] or "").split(",")):
            assert re.split(r"[!=]", matcher)[0] in exported()[metric[1]], f"{metric[1]} has no such label"
    for grouped in re.findall(r"\bby \(([^)]*)\)", expr):
        assert {label.strip() for label in grouped.split(",")} <= labels


def test_what_a_legend_or_an_alert_shows_is_a_label_that_is_left() -> None:
    panels = [panel for row in dashboard.rows(TOPOLOGY) for panel in row.panels]
    shown = [(query.expr, query.legend) for panel in panels for query in panel.queries]
    for expr, legend in shown:
        grouped = re.search(r"\bby \(([^)]*)\)", expr)
        for label in re.findall(r"{{(\w+)}}", legend):
            if grouped is not None:
                assert label in grouped[1]
            else:
                assert label in exported()[METRIC.findall(expr)[0][0]]
    for alert in alert_rules.alerts(TOPOLOGY):
        for label in re.findall(r"\$labels\.(\w+)", alert.summary):
            assert label in exported()[METRIC.findall(alert.expr)[0][0]]


def test_a_code_that_is_not_listed_is_named_by_an_alert_at_its_first_refusal() -> None:
    (alert,) = (a for a in alert_rules.alerts(TOPOLOGY) if a.name == "QuizstreamUnlistedProviderCode")

    assert {"provider", "code"} <= exported()["quizstream_sender_unlisted_codes_total"]
    assert {"provider", "code"} <= set(re.findall(r"\$labels\.(\w+)", alert.summary))
    assert alert.for_s == 0
    assert "unless quizstream_sender_unlisted_codes_total offset" in alert.expr  # a series without a past


def test_the_outcome_that_is_no_error_is_one_that_the_sender_counts() -> None:
    from sinks.delivery.rows import Result

    assert "sent" in get_args(get_type_hints(Result)["outcome"])


def test_every_agent_and_every_sink_has_its_lag_on_the_dashboard() -> None:
    for panel in dashboard.rows(TOPOLOGY)[0].panels[:2]:
        (query,) = panel.queries
        assert query.expr == f"max by (group, topic) ({METRIC.findall(query.expr)[0][0]})"  # all of them
        assert query.legend == "{{group}} {{topic}}"
    found = readers(TOPOLOGY)
    assert {(one.kind, one.name) for one in found} == {
        *(("agent", name) for name in TOPOLOGY.agents),
        *(("sink", name) for name in TOPOLOGY.sinks),
    }
    assert len({(one.group, one.topic) for one in found}) == len(found)


def test_prometheus_itself_reads_the_configuration_and_the_rules() -> None:
    file = generate.FOLDER / "prometheus" / "prometheus.yml"
    checked = subprocess.run([require_promtool(), "check", "config", file], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_thresholds_are_those_of_the_topology() -> None:
    limits = msgspec.structs.replace(
        TOPOLOGY.alerts, lag_records_max=123, lag_s_max=45.5, error_ratio_max=0.25
    )
    topology = msgspec.structs.replace(TOPOLOGY, alerts=limits)
    rules = {alert.name: alert.expr for alert in alert_rules.alerts(topology)}
    assert rules["QuizstreamLagRecords"].endswith("> 123")
    assert rules["QuizstreamLagSeconds"].endswith("> 45.5")
    assert rules["QuizstreamEdgeErrors"].endswith("> 0.25")
    assert dashboard.rows(topology)[0].panels[0].red == 123


def test_panels_do_not_overlap_and_have_ids_of_their_own() -> None:
    panels: list[dict[str, Any]] = dashboard.render(TOPOLOGY)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        grid = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(grid["x"], grid["x"] + grid["w"])
            for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert not cells & taken
        assert grid["x"] + grid["w"] <= dashboard.WIDTH
        taken |= cells


def test_an_alert_has_a_name_of_its_own_and_says_what_to_do() -> None:
    alerts = alert_rules.alerts(TOPOLOGY)
    assert len({alert.name for alert in alerts}) == len(alerts)
    for alert in alerts:
        assert alert.summary
        assert alert.action
        assert alert.severity in {"warning", "critical"}
        assert alert.expr.count("(") == alert.expr.count(")")


def test_what_is_written_again_is_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "FOLDER", tmp_path)
    assert len(generate.write(TOPOLOGY)) == 5
    assert generate.write(TOPOLOGY) == []
    scrape = yaml.safe_load((tmp_path / "prometheus" / "prometheus.yml").read_text())["scrape_configs"][0]
    alone = {group["labels"]["process"] for group in scrape["static_configs"]}
    scaled = {name for found in scrape["dns_sd_configs"] for name in found["names"]}
    assert alone | scaled == set(generate.targets())
    assert not alone & scaled
