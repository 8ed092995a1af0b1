"""A replay matches as of then: what came before a campaign is none of its business, whoever reads again."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest

from tests.support.running_pipeline import Pipeline

pytestmark = pytest.mark.xdist_group("acceptance")

CAMPAIGN = """
campaign_id: {quiz}-{name}
tenant_id: demo-personalidade
name: Todos
quiz_ids: [{quiz}]
conditions: [{{field: answers.cor, op: exists}}]
message: {{kind: template, template: obrigado, language: pt_BR}}
"""


def saved_and_in_force(pipeline: Pipeline, folder: Path, quiz: str, name: str) -> str:
    path = folder / f"{name}.yaml"
    path.write_text(CAMPAIGN.format(quiz=quiz, name=name))
    saved = pipeline.quizstream("campaign", "save", str(path), "--json")
    assert saved.returncode == 0, saved.stderr
    campaign = msgspec.json.decode(saved.stdout)[0]
    time.sleep(max(0.0, campaign["effective_at"] / 1000 + 0.2 - time.time()))
    return str(campaign["campaign_id"])


def test_a_campaign_created_after_the_completions_messages_nobody_though_every_group_is_rewound(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    header_only, people = tmp_path / "cabecalho.csv", tmp_path / "pessoas.csv"
    header_only.write_text("cor\n")
    people.write_text("cor\n" + "azul\nverde\n" * 150)
    quiz = "cores-rebobinadas"
    assert pipeline.quizstream("replay", str(header_only), "--quiz", quiz, "--tenant", "demo-personalidade")
    before = saved_and_in_force(pipeline, tmp_path, quiz, "antes")
    replayed = pipeline.quizstream("replay", str(people), "--quiz", quiz)
    assert replayed.returncode == 0, replayed.stderr
    first = pipeline.settled()
    assert first.ok, first.breaches

    after = saved_and_in_force(pipeline, tmp_path, quiz, "depois")
    pipeline.rewind_everything()
    second = pipeline.settled()

    assert second.ok, second.breaches
    by_campaign = dict(pipeline.rows("SELECT campaign_id, count(*) FROM deliveries GROUP BY 1"))
    assert by_campaign[before] == 300
    assert after not in by_campaign
    assert second.calls == first.calls
    counted = ("accepted", "archived", "limited", "unmatched", "matched", "deliveries", "sent", "dead")
    assert [getattr(second, name) for name in counted] == [getattr(first, name) for name in counted]
