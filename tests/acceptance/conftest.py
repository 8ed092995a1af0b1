"""One pipeline for all acceptance tests of a worker: each of them uses quizzes and people of its own."""

from __future__ import annotations

import json
import secrets
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from ops.embedded.stack import ServerUrls
from tests.support.quizzes import Make, make_quiz_of
from tests.support.running_pipeline import Pipeline, running_pipeline


# Of the package, not of the session: its processes would poll for work until the end of the run.
@pytest.fixture(scope="package")
def pipeline(stack: ServerUrls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    home: Path = tmp_path_factory.mktemp("home")
    (home / "logs").mkdir()
    with running_pipeline(stack, home, f"a{secrets.token_hex(4)}.") as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_stays_stopped(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that leaves a stop, a hold or a rule fails by itself, and not those that come after it."""
    yield
    if "pipeline" not in request.fixturenames:
        return
    running: Pipeline = request.getfixturevalue("pipeline")
    left = [scope for (scope,) in running.rows("SELECT scope FROM sending_stops ORDER BY 1")]
    left += [
        f"number:{number}"
        for (number,) in running.rows(
            "SELECT number_id FROM sender_numbers WHERE state <> 'active' ORDER BY 1"
        )
    ]
    for scope in left:
        kind, _, name = scope.partition(":")
        running.quizstream("resume-sending", *([f"--{kind}", name] if name else []))
    rules = f"{running.found.settings.simulator_url}/simulator/rules"
    with urllib.request.urlopen(rules, timeout=60) as response:
        left += [f"rule {rule['name'] or rule['do']}" for rule in json.loads(response.read())]
    urllib.request.urlopen(urllib.request.Request(rules, method="DELETE"), timeout=60).close()
    assert left == []


@pytest.fixture
def make_quiz(pipeline: Pipeline, tmp_path: Path) -> Make:
    """A quiz with one question and a campaign that answers whoever gives `sim`."""
    return partial(make_quiz_of, pipeline, tmp_path)
