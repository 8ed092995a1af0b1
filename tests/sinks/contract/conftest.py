from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.sender_world import World


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> Iterator[World]:
    """A migrated database, a simulator's place, and processes that end with the test."""
    with World(database_url, tmp_path) as made:
        yield made
