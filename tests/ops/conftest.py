"""A story in real topics and tables, for what reads it, and a folder that servers' users may enter."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.embedded.stack import ServerUrls
from ops.locate import Deployment
from tests.support.story import Story, deployed, told


@pytest.fixture
def found(stack: ServerUrls, database_url: str, namespace: str, tmp_path: Path) -> Deployment:
    return deployed(stack, database_url, namespace, tmp_path)


@pytest.fixture
def story(found: Deployment) -> Story:
    return told(found)


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A folder that other users (PostgreSQL's) may pass through.

    Not in the folder of pytest: each new run of it closes that for others, beside a test that needs it open.
    """
    path = Path(tempfile.mkdtemp(prefix="quizstream-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)
