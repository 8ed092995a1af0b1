"""One pipeline for all acceptance tests of a worker: each of them uses quizzes and people of its own."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from ops.embedded.stack import ServerUrls
from tests.support.quizzes import Make
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

    def make(quiz_id: str, rows: int) -> None:
        path = tmp_path / f"{quiz_id}.csv"
        path.write_text("quer\n" + "não\n" * rows)
        done = pipeline.quizstream("replay", str(path), "--quiz", quiz_id, "--tenant", "demo-personalidade")
        assert done.returncode == 0, done.stderr
        campaign = tmp_path / f"{quiz_id}.yaml"
        campaign.write_text(
            f"campaign_id: {quiz_id}-campanha\n"
            "tenant_id: demo-personalidade\n"
            "name: Quem quer\n"
            f"quiz_ids: [{quiz_id}]\n"
            "conditions: [{field: answers.quer, op: eq, values: [sim]}]\n"
            "message: {kind: template, template: obrigado, language: pt_BR}\n"
        )
        saved = pipeline.quizstream("campaign", "save", str(campaign), "--json")
        assert saved.returncode == 0, saved.stderr
        effective_at_ms = msgspec.json.decode(saved.stdout)[0]["effective_at"]
        time.sleep(max(0.0, effective_at_ms / 1000 + 0.2 - time.time()))

    return make
