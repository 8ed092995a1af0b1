"""One pipeline for all acceptance tests of a worker: each of them uses quizzes and people of its own."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from ops.embedded.stack import ServerUrls
from tests.support.quizzes import Make, make_quiz_of
from tests.support.running_pipeline import Pipeline, running_pipeline


@pytest.fixture(scope="session")
def pipeline(stack: ServerUrls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    home: Path = tmp_path_factory.mktemp("home")
    (home / "logs").mkdir()
    with running_pipeline(stack, home, f"a{secrets.token_hex(4)}.") as running:
        yield running


@pytest.fixture
def make_quiz(pipeline: Pipeline, tmp_path: Path) -> Make:
    """A quiz with one question and a campaign that answers whoever gives `sim`."""
    return partial(make_quiz_of, pipeline, tmp_path)
