"""A story in real topics and tables, for what reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.deployment import Deployment
from ops.embedded.stack import ServerUrls
from tests.ops.story import Story, deployed, told


@pytest.fixture
def found(stack: ServerUrls, database_url: str, namespace: str, tmp_path: Path) -> Deployment:
    return deployed(stack, database_url, namespace, tmp_path)


@pytest.fixture
def story(found: Deployment) -> Story:
    return told(found)
