"""Every metric is in a catalogue module, has a name by one rule and a help that reads plainly."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
PRODUCT = ("pipeline", "ingest_api", "sinks", "ops")
KINDS = {"Counter", "Gauge", "Histogram", "Summary", "CounterMetricFamily", "GaugeMetricFamily"}
COUNTERS = {"Counter", "CounterMetricFamily"}

NAME = re.compile(r"quizstream(_[a-z][a-z0-9]*)+")
CONSTANT = re.compile(r"[A-Z][A-Z0-9_]*")
UNITS_NOT_BASE = ("_ms", "_milliseconds", "_s", "_min", "_minutes", "_kb", "_mb")  # seconds and bytes only
# docs/glossary.md has the terms to use instead.
WORDS_FORBIDDEN = re.compile(
    r"\b(somebody|nobody|whoever|whatever|tells?|told|hears?|knows?|wants?|asked|asks?|away|judged|anew|books|"
    r"desks?|lines?|upkeep|setbacks?|facts?|given up|in hand|under way|goes on|went)\b",
    re.IGNORECASE,
)


class Metric(NamedTuple):
    path: str
    kind: str
    name: str
    help: str
    variable: str | None  # at the top of a module


def metrics() -> list[Metric]:
    found = []
    for package in PRODUCT:
        for path in sorted((CHECKOUT / package).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            variables = {
                id(node.value): node.targets[0].id
                for node in tree.body
                if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
            }
            for node in ast.walk(tree):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS:
                    texts = [one.value for one in node.args[:2] if isinstance(one, ast.Constant)]
                    if texts and str(texts[0]).startswith("quizstream"):
                        where = str(path.relative_to(CHECKOUT))
                        name, about = map(str, texts)
                        found.append(Metric(where, node.func.id, name, about, variables.get(id(node))))
    return found


METRICS = metrics()
every_metric = pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)


def test_the_metrics_are_found_and_each_name_once() -> None:
    assert len(METRICS) > 70
    assert [name for name, count in Counter(metric.name for metric in METRICS).items() if count > 1] == []


@every_metric
def test_a_metric_is_in_a_catalogue_module(metric: Metric) -> None:
    assert Path(metric.path).name == "metrics.py"


@every_metric
def test_a_module_constant_is_upper_case(metric: Metric) -> None:
    assert metric.variable is None or CONSTANT.fullmatch(metric.variable)


@every_metric
def test_a_name_says_part_what_and_unit(metric: Metric) -> None:
    assert NAME.fullmatch(metric.name)
    assert not metric.name.endswith(UNITS_NOT_BASE)
    assert metric.kind in COUNTERS or not metric.name.endswith("_total")


@every_metric
def test_a_help_is_one_plain_sentence_or_two(metric: Metric) -> None:
    assert metric.help.endswith(".")
    assert metric.help[0].isupper() or metric.help[0].isdigit()
    assert WORDS_FORBIDDEN.findall(metric.help) == []
