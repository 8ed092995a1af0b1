from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from benchmarks.measure.figures import Percentiles
from benchmarks.measure.machine import Machine
from benchmarks.plans import E2e
from benchmarks.report.pages import PAGES, NoPage, page
from benchmarks.scenarios.e2e import Result

RESULTS = Path(__file__).resolve().parents[3] / "benchmarks" / "results"
SOME = Percentiles(1000, 4.5, 41.0, 1234.5)
RESULT = Result(
    kind="e2e",
    at="2026-01-01T00:00:00+00:00",
    commit="abcdef0",
    machine=Machine("A <fast> CPU & more", 2, 16.0, "Linux", "3.11", 0.1),
    plan=E2e(1667.0, 600.0),
    offered_per_s=1667.0,
    accepted_per_s=1666.9,
    drained_per_s=1666.5,
    calls_per_s=166.7,
    ack_ms=SOME,
    to_postgres_ms=SOME,
    to_verdict_row_ms=SOME,
    to_provider_ms=Percentiles(0, None, None, None),
    lost=0,
    twice=0,
    retries=0,
    cpu_s={"kafka": 300.0, "edge": 200.0},
    cpu_us_per_completion=500.0,
    cores_used=0.83,
    backlog_end=12,
    backlog_end_by_reader={"qualify": 12},
    backlog_max=40,
    backlog_growth_per_s=None,
    targets={"ack p99 <= 50 ms": True, "backlog flat": False},
)


def test_a_page_is_well_formed_and_says_what_was_measured() -> None:
    said = " ".join(ElementTree.fromstring(page(msgspec.json.encode(RESULT))).itertext())
    for wanted in ("A <fast> CPU & more", "abcdef0", "1,234.5", "kafka", "0.50 cores", "1,666.5", "lost 0"):
        assert wanted in said


@pytest.mark.parametrize("kind", PAGES)
def test_what_is_kept_of_each_kind_can_be_drawn(kind: str) -> None:
    kept = [
        file for file in RESULTS.glob("*.json") if msgspec.json.decode(file.read_bytes()).get("kind") == kind
    ]
    assert kept
    for file in kept:
        said = " ".join(ElementTree.fromstring(page(file.read_bytes())).itertext())
        assert msgspec.json.decode(file.read_bytes())["commit"] in said


def test_what_has_no_page_is_named() -> None:
    with pytest.raises(NoPage, match="stages"):
        page(b'{"kind": "stages"}')
