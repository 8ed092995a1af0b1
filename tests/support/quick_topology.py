"""The product's topology with shorter waits: after the kill of a worker, and before a call is made again."""

from __future__ import annotations

from pathlib import Path

TOPOLOGY_FILE = Path(__file__).resolve().parents[2] / "topology.yaml"
SHORTER = {"session_timeout_s: 10": "session_timeout_s: 6", "retry_base_s: 5": "retry_base_s: 1"}


def quick_text() -> str:
    text = TOPOLOGY_FILE.read_text()
    for its_own, shorter in SHORTER.items():
        assert text.count(its_own) == 1, its_own
        text = text.replace(its_own, shorter)
    return text


def quick_topology(folder: Path) -> Path:
    """Its file in the folder."""
    file = folder / "topology.yaml"
    file.write_text(quick_text())
    return file
