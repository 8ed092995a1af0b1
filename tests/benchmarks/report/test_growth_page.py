from __future__ import annotations

from xml.etree import ElementTree

import msgspec

from benchmarks.measure.machine import Machine
from benchmarks.report.pages import page
from benchmarks.scenarios.growth.curves import Result
from benchmarks.scenarios.growth.rounds import curve

RESULT = Result(
    kind="growth",
    at="2026-01-01T00:00:00+00:00",
    commit="abcdef0",
    machine=Machine("A <fast> CPU & more", 2, 16.0, "Linux", "3.11", 0.1),
    rounds=3,
    bend_max=1.2,
    curves=[
        curve("judge", "campaigns", {10: [70.0], 10_000: [77.0]}, 1.2),
        curve("dedup", "keys", {10_000: [8.0], 5_000_000: [12.0]}, 1.2),
        curve("one size", "keys", {10_000: [8.0]}, None),
    ],
    filled=[],
    ok=False,
)


def test_a_page_is_well_formed_and_shows_every_point() -> None:
    said = " ".join(ElementTree.fromstring(page(msgspec.json.encode(RESULT))).itertext())
    for wanted in ("A <fast> CPU & more", "abcdef0", "5,000,000", "77 us", "dedup: 1.50 times"):
        assert wanted in said
