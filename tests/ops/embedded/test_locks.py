"""What make installs is pinned by hash, and the set for running is part of the set for testing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[3]
LOCKS = ("requirements.lock", "requirements-dev.lock", "ops/setup/uv.lock")


def pins(name: str) -> dict[str, int]:
    """`package==version` -> how many hashes it has."""
    entries = re.split(r"\n(?=\S)", (CHECKOUT / name).read_text())
    found = {}
    for entry in entries:
        pin = re.match(r"([A-Za-z0-9_.\[\],-]+==[^\s;]+)", entry)
        if pin:
            found[pin[1]] = entry.count("--hash=sha256:")
    return found


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_has_a_hash_and_no_file_an_address(name: str) -> None:
    assert pins(name)
    assert [pin for pin, hashes in pins(name).items() if hashes == 0] == []
    assert "://" not in (CHECKOUT / name).read_text()


def test_the_set_for_testing_also_serves_running() -> None:
    missing = set(pins("requirements.lock")) - set(pins("requirements-dev.lock"))
    assert {pin for pin in missing if not pin.startswith("confluent-kafka")} == set()
