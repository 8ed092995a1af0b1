"""Two real quizzes go in over HTTP and whoever should gets one message; a second replay changes nothing."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from ops.demo import datasets
from tests.support.running_pipeline import Pipeline

pytestmark = pytest.mark.xdist_group("acceptance")

# Of the campaigns in ops/demo/seeds/campaigns.yaml, counted in the tables themselves.
MATCHES = {
    "raciocinio-curso-avancado": 802,
    "raciocinio-clube-dos-12": 321,
    "personalidade-ideias-30": 719,
    "personalidade-cartaz": 912,
}
PER_QUESTION = """
    SELECT quiz_id, question.key, question.value #>> '{}', count(*)
    FROM completions, jsonb_each(answers) AS question
    WHERE quiz_id = ANY(%s) GROUP BY 1, 2, 3
"""


def replayed(pipeline: Pipeline, accepted: Path) -> dict[str, Path]:
    files = datasets.extract(pipeline.found.settings.home / "datasets")
    for quiz_id, path in files.items():
        done = pipeline.quizstream("replay", str(path), "--quiz", quiz_id, "--accepted-out", str(accepted))
        assert done.returncode == 0, done.stderr
    return files


def test_two_real_quizzes_and_a_second_replay_that_changes_nothing(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    before = pipeline.settled()  # other tests have had calls rejected
    accepted = tmp_path / "accepted.txt"
    files = replayed(pipeline, accepted)
    first = pipeline.settled(accepted)

    assert first.breaches == []
    assert first.ok
    quizzes = list(files)
    assert len(set(accepted.read_text().split())) == 4325
    archived = "SELECT count(*), count(DISTINCT completion_id) FROM completions WHERE quiz_id = ANY(%s)"
    assert pipeline.rows(archived, quizzes) == [(4325, 4325)]
    assert answers_in(files) == {
        (quiz, question, answer): count
        for quiz, question, answer, count in pipeline.rows(PER_QUESTION, quizzes)
    }
    sent = (
        "SELECT campaign_id, count(*) FROM deliveries WHERE state IN ('sent', 'delivered', 'read') GROUP BY 1"
    )
    assert MATCHES.items() <= dict(pipeline.rows(sent)).items()
    assert first.ambiguous == 0
    assert first.calls is not None
    assert before.calls is not None
    assert first.calls - before.calls == first.sent - before.sent

    rows_before = everything(pipeline, quizzes)
    again = tmp_path / "again.txt"
    replayed(pipeline, again)
    second = pipeline.settled(again)

    assert set(again.read_text().split()) == set(accepted.read_text().split())
    assert second.ok
    assert everything(pipeline, quizzes) == rows_before
    assert (second.accepted, second.calls) == (first.accepted, first.calls)


def answers_in(files: dict[str, Path]) -> dict[tuple[str, str, str], int]:
    """The source tables' own counts, by Python's csv module alone."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for quiz_id, path in files.items():
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                counts.update((quiz_id, name, cell) for name, cell in row.items() if cell != "NA")
    return dict(counts)


def everything(pipeline: Pipeline, quizzes: list[str]) -> list[list[tuple[object, ...]]]:
    return [
        sorted(pipeline.rows(query, quizzes))
        for query in (
            "SELECT day, completion_id::text, archived_at FROM completions WHERE quiz_id = ANY(%s)",
            "SELECT day, completion_id::text, verdict, campaigns::text FROM outcomes WHERE quiz_id = ANY(%s)",
            "SELECT delivery_id::text, attempts FROM deliveries d JOIN completions c USING (completion_id)"
            " WHERE c.quiz_id = ANY(%s)",
        )
    ]
