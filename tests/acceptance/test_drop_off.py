"""Visits of a quiz on the running product: reports over HTTP in, the figures of the command out."""

from __future__ import annotations

import json
import secrets
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ingest_api.completions.keys import new_key
from tests.support.quizzes import Make
from tests.support.running_pipeline import Pipeline, until

pytestmark = pytest.mark.xdist_group("acceptance")


def post(pipeline: Pipeline, path: str, body: dict[str, Any]) -> int:
    request = urllib.request.Request(
        f"{pipeline.found.settings.edge_url}/quiz/{path}",
        json.dumps(body).encode(),
        {"content-type": "text/plain;charset=UTF-8"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_one_completes_one_leaves_at_the_second_question_and_one_goes_silent(
    pipeline: Pipeline, make_quiz: Make
) -> None:
    quiz = "desistencias"
    make_quiz(quiz)
    more = [{"question_id": "quer"}, {"question_id": "cor"}, {"question_id": "fim"}]
    tenant = pipeline.value("SELECT tenant_id FROM quizzes WHERE quiz_id = %s", quiz)
    changed = {"quiz_id": quiz, "tenant_id": tenant, "title": "Desistências", "questions": more}
    file = pipeline.found.settings.home / "desistencias-3.yaml"
    file.write_text(json.dumps(changed))
    saved = pipeline.quizstream("quiz", "add", str(file))
    assert saved.returncode == 0, saved.stderr
    completes, leaves, silent = (new_key(int(time.time() * 1000), secrets.token_bytes) for _ in range(3))

    def report(visit: str, kind: str, question: str | None, seconds: float = 0.0) -> bool:
        at = datetime.now(UTC) + timedelta(seconds=seconds)
        body = {"visit_id": visit, "kind": kind, "question_id": question, "at": at.isoformat()}
        return post(pipeline, f"{quiz}/progress", body) == 202

    until(lambda: report(completes, "progressed", "fim"), "the new questions are at the edge")
    assert report(completes, "started", "quer", -60)
    assert report(leaves, "abandoned", "cor", 1)
    assert report(leaves, "started", "quer")
    assert report(leaves, "progressed", "cor")
    assert report(silent, "started", "quer")
    assert report(completes, "completed", None)
    assert post(pipeline, f"{quiz}/completions", {"answers": {"quer": "não", "cor": "azul"}}) == 202
    assert pipeline.settled().ok
    visits = "SELECT visit_id::text, state FROM visits WHERE quiz_id = %s"
    expected = {(completes, "completed"), (leaves, "abandoned"), (silent, "started")}
    until(lambda: set(pipeline.rows(visits, quiz)) == expected, "the visits are in the table")
    passed = (
        "UPDATE visits SET last_seen_at = last_seen_at - interval '31 min' WHERE visit_id = %s RETURNING 1"
    )
    assert pipeline.rows(passed, silent) == [(1,)]

    shown = pipeline.quizstream("quiz", "drop-off", quiz, "--json")

    assert shown.returncode == 0, shown.stderr
    found = json.loads(shown.stdout)
    assert [found[name] for name in ("visits", "completed", "abandoned", "silent", "active")] == [
        3,
        1,
        1,
        1,
        0,
    ]
    assert found["states"] == {"started": 1, "progressed": 0, "abandoned": 1, "completed": 1}
    figures = [(one["question_id"], one["reached"], one["left"]) for one in found["questions"]]
    assert figures == [("", 3, 0), ("quer", 3, 1), ("cor", 2, 1), ("fim", 1, 0)]
    text = pipeline.quizstream("quiz", "drop-off", quiz).stdout
    assert "3 visits" in text
    assert "1 completed, 1 abandoned, 1 silent for 30 min, 0 active" in text
    assert "  50%  " in text
