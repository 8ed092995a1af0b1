"""Fixtures of the tests about servers and processes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A folder that other users (PostgreSQL's) may pass through.

    Not in the folder of pytest: each new run of it closes that for others, beside a test that needs it open.
    """
    path = Path(tempfile.mkdtemp(prefix="quizstream-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)
