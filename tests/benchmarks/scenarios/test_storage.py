"""A topic's size is that of its segments, whatever else lies in the broker's folder."""

from __future__ import annotations

from pathlib import Path

from benchmarks.scenarios.storage import topic_sizes
from pipeline.topology.loader import load

TOPOLOGY = Path(__file__).resolve().parents[3] / "topology.yaml"


def test_segments_of_all_partitions_count_and_nothing_else_does(tmp_path: Path) -> None:
    topology = load(TOPOLOGY)
    name = topology.topic("completions").name
    for place, size in (
        (f"kafka/data/{name}-0/00000000000000000000.log", 100),
        (f"kafka/data/{name}-7/00000000000000000900.log", 20),
        (f"kafka/data/{name}-0/00000000000000000000.index", 10_000_000),
        ("kafka/data/__consumer_offsets-0/00000000000000000000.log", 500),
        ("logs/edge.log", 300),
    ):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(b"x" * size)

    sizes = topic_sizes(tmp_path, topology)
    assert sizes["completions"] == 120
    assert sum(sizes.values()) == 120
