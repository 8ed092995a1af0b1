"""The model is fed by results that can be trusted, and charges each microsecond once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from ops.capacity.measured import Journey, NotMeasured, Sending, fed, measured
from pipeline.topology.loader import load
from pipeline.topology.model import Topology

TOPOLOGY = Path(__file__).resolve().parents[3] / "topology.yaml"


def journey(**changed: Any) -> dict[str, Any]:
    return {
        "kind": "e2e",
        "at": "2026-01-01T00:00:00+00:00",
        "commit": "abcdef0",
        "machine": {"cpu": "CPU", "cores": 2, "load_1m": 0.1},
        "plan": {"seconds": 100.0, "matching_percent": 10},
        "offered_per_s": 1000.0,
        "drained_per_s": 1000.0,
        "calls_per_s": 100.0,
        "cpu_s": {
            "edge": 20.0,
            "worker": 18.0,
            "postgres-sink": 10.0,
            "whatsapp-sender": 6.0,
            "kafka": 14.0,
            "postgres": 21.0,
            "generator": 99.0,
        },
        "lost": 0,
        "twice": 0,
    } | changed


SENDING = {
    "kind": "sender",
    "at": "2026-01-01T00:00:00+00:00",
    "commit": "abcdef0",
    "cpu_us_per_message": {"postgres": {"median": 300.0}, "kafka": {"median": 99_999.0}},
}
STORED = {
    "kind": "storage",
    "at": "2026-01-01T00:00:00+00:00",
    "commit": "abcdef0",
    "completions": 1000,
    "messages": 100,
    "table_bytes": {"completions": 900_000, "outcomes": 100_000, "deliveries": 50_000, "outbox": 9_999},
    "topic_bytes": {"completions": 500_000, "matches": 40_000, "delivered_changelog": 7_000},
}


@pytest.fixture(scope="module")
def topology() -> Topology:
    return load(TOPOLOGY)


def written(folder: Path, **results: dict[str, Any]) -> None:
    for name, result in results.items():
        (folder / f"{name}.json").write_bytes(msgspec.json.encode(result))


def test_cpu_is_charged_once_and_the_load_generators_to_nobody() -> None:
    run, sending = msgspec.convert(journey(), Journey), msgspec.convert(SENDING, Sending)
    found = fed(run, sending, None, [])

    assert found.edge.completion_us == 200.0
    assert found.sender.message_us == 600.0
    assert (found.database.completion_us, found.database.message_us) == (180.0, 300.0)
    for cost, seconds in ((found.database, 21.0), (found.broker, 14.0), (found.sink, 10.0)):
        assert cost.completion_us + 0.1 * cost.message_us == pytest.approx(1e6 * seconds / 100_000)
        assert cost.completion_us >= 0  # a sender's result of another day may say more than the whole


def test_of_the_longest_good_results_the_newest_is_taken(tmp_path: Path, topology: Topology) -> None:
    written(
        tmp_path,
        older=journey(),
        newer=journey(at="2026-01-02T00:00:00+00:00"),
        behind=journey(at="2026-01-03T00:00:00+00:00", drained_per_s=900.0),
        lost=journey(at="2026-01-04T00:00:00+00:00", lost=1),
        shorter=journey(at="2026-01-05T00:00:00+00:00", plan={"seconds": 60.0, "matching_percent": 10}),
        sender=SENDING,
        storage=STORED,
    )
    (tmp_path / "broken.json").write_text("{")
    found = measured(topology, folder=tmp_path)

    assert [source.split()[0] for source in found.sources] == ["newer.json", "sender.json", "storage.json"]


def test_bytes_are_of_a_completion_or_of_a_message_and_what_is_compacted_is_left_out(
    tmp_path: Path, topology: Topology
) -> None:
    written(tmp_path, journey=journey(), storage=STORED)
    storage = measured(topology, folder=tmp_path).storage

    assert storage is not None
    assert (storage.completion_bytes, storage.message_bytes) == (1000.0, 500.0)
    assert set(storage.topics) == {"completions", "matches"}
    assert storage.topics["completions"].completion_bytes == 500.0
    assert storage.topics["matches"].message_bytes == 400.0
    retention_h = topology.topic("matches").retention_h
    assert retention_h is not None
    assert storage.topics["matches"].retention_s == retention_h * 3600


def test_without_a_result_it_says_which_command_makes_one(tmp_path: Path, topology: Topology) -> None:
    with pytest.raises(NotMeasured, match="quizstream bench e2e"):
        measured(topology, folder=tmp_path)


def test_a_named_file_that_is_no_result_is_refused(tmp_path: Path, topology: Topology) -> None:
    written(tmp_path, other={"kind": "edge"})
    with pytest.raises(NotMeasured, match=r"other\.json is not a result"):
        measured(topology, tmp_path / "other.json")
