"""What Prometheus would store of a process: a scrape of its real `/metrics`, with the target's labels."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

JOB = "quizstream"
TIMEOUT_S = 10.0

Series = tuple[str, tuple[tuple[str, str], ...]]
"""A metric's name and its labels, sorted."""


@dataclass(frozen=True)
class Scrape:
    """The values of every series at one moment; `counters` are those that only grow."""

    values: dict[Series, float]
    counters: frozenset[Series]

    def value(self, name: str, **labels: str) -> float | None:
        """The sum of the series that have these labels, None where there is none."""
        found = [
            value
            for (metric, given), value in self.values.items()
            if metric == name and labels.items() <= dict(given).items()
        ]
        return sum(found) if found else None


def scrape(process: str, url: str) -> Scrape:
    """`up` is 0 where nobody answers, as Prometheus records it."""
    target = {"job": JOB, "process": process, "instance": url.split("/")[2]}
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:
            text = response.read().decode()
    except OSError:
        return Scrape({_series("up", target): 0.0}, frozenset())
    values, counters = {_series("up", target): 1.0}, set()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            own = {f"exported_{key}" if key in target else key: value for key, value in sample.labels.items()}
            series = _series(sample.name, own | target)
            values[series] = sample.value
            if family.type in ("counter", "histogram", "summary") and not sample.name.endswith("_created"):
                counters.add(series)
    return Scrape(values, frozenset(counters))


def together(scrapes: Iterable[Scrape]) -> Scrape:
    """Those of several processes, at one moment."""
    values: dict[Series, float] = {}
    counters: frozenset[Series] = frozenset()
    for one in scrapes:
        values |= one.values
        counters |= one.counters
    return Scrape(values, counters)


def _series(name: str, labels: dict[str, str]) -> Series:
    return name, tuple(sorted(labels.items()))
