"""Fixtures of the tests about servers and processes."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest


@pytest.fixture
def open_path(tmp_path: Path) -> Path:
    """`tmp_path`, such that another user (PostgreSQL's) may pass through the folders above it."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder == Path(tempfile.gettempdir()):
            break
        if folder.stat().st_uid == os.geteuid():
            folder.chmod(0o755)
    return tmp_path
