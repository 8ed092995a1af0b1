"""How a test makes a quiz of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from tests.support.running_pipeline import Pipeline

Make = Callable[..., None]  # the ids of quizzes

TENANT = "demo-personalidade"
MESSAGE: Mapping[str, Any] = {"kind": "template", "template": "obrigado", "language": "pt_BR"}


def make_quiz_of(
    pipeline: Pipeline,
    folder: Path,
    *quiz_ids: str,
    tenant: str = TENANT,
    message: Mapping[str, Any] = MESSAGE,
) -> None:
    """Quizzes with one question, each with a campaign in force that answers whoever gives `sim`."""
    in_force(dict.fromkeys(quiz_ids, tenant), pipeline, folder, message)


def in_force(
    tenants: Mapping[str, str], pipeline: Pipeline, folder: Path, message: Mapping[str, Any] = MESSAGE
) -> None:
    """The same for quizzes of several tenants: a campaign's delay is waited for once."""
    effective_at_ms = 0
    for quiz_id, tenant in tenants.items():
        effective_at_ms = max(effective_at_ms, _saved(pipeline, folder, quiz_id, tenant, message))
    time.sleep(max(0.0, effective_at_ms / 1000 + 0.2 - time.time()))


def _saved(pipeline: Pipeline, folder: Path, quiz_id: str, tenant: str, message: Mapping[str, Any]) -> int:
    """When the campaign comes into force; one completion does not match it."""
    path = folder / f"{quiz_id}.csv"
    path.write_text("quer\nnão\n")
    done = pipeline.quizstream("replay", str(path), "--quiz", quiz_id, "--tenant", tenant)
    assert done.returncode == 0, done.stderr
    campaign = {
        "campaign_id": f"{quiz_id}-campanha",
        "tenant_id": tenant,
        "name": "Quem quer",
        "quiz_ids": [quiz_id],
        "conditions": [{"field": "answers.quer", "op": "eq", "values": ["sim"]}],
        "message": dict(message),
    }
    file = folder / f"{quiz_id}.yaml"
    file.write_text(json.dumps(campaign))  # JSON is YAML
    saved = pipeline.quizstream("campaign", "save", str(file), "--json")
    assert saved.returncode == 0, saved.stderr
    return int(msgspec.json.decode(saved.stdout)[0]["effective_at"])
