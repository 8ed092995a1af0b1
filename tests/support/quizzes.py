"""How a test makes a quiz of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from tests.support.running_pipeline import Pipeline

Make = Callable[[str, int], None]  # the quiz id, and rows that no campaign matches

TENANT = "demo-personalidade"
MESSAGE: Mapping[str, Any] = {"kind": "template", "template": "obrigado", "language": "pt_BR"}


def make_quiz_of(
    pipeline: Pipeline,
    folder: Path,
    quiz_id: str,
    rows: int = 1,
    *,
    tenant: str = TENANT,
    message: Mapping[str, Any] = MESSAGE,
) -> None:
    """A quiz with one question, and a campaign in force that answers whoever gives `sim`."""
    path = folder / f"{quiz_id}.csv"
    path.write_text("quer\n" + "não\n" * rows)
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
    effective_at_ms = msgspec.json.decode(saved.stdout)[0]["effective_at"]
    time.sleep(max(0.0, effective_at_ms / 1000 + 0.2 - time.time()))
