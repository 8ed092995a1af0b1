"""One pipeline a module of drills, with a quiz whose every answer is written to."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.embedded.stack import ServerUrls
from tests.support.drill_people import Drill, drill
from tests.support.running_pipeline import Pipeline, running_pipeline


@pytest.fixture(scope="module")
def pipeline(stack: ServerUrls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    home: Path = tmp_path_factory.mktemp("home")
    (home / "logs").mkdir()
    with running_pipeline(stack, home, f"d{secrets.token_hex(4)}.") as running:
        yield running


@pytest.fixture(scope="module")
def people(pipeline: Pipeline) -> Drill:
    return drill(pipeline)
