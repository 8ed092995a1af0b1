"""The demo seeds create what the two real quizzes need, as often as one likes."""

from __future__ import annotations

import csv
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import psycopg
import pytest
import yaml

from ops.demo import datasets
from ops.deployment.prepare import DEMO_VARIABLE, is_demo, prepare, publish
from ops.deployment.seed import SEEDS, SeedInvalid, read, seed
from ops.locate import Deployment
from pipeline.errors import CannotStart
from sinks.postgres.catalogue.catalogue import QuizDraft

# R's `psych` package, iqitems: the key of its documentation's example.
IQITEMS_KEY = ["4", "4", "4", "6", "6", "3", "4", "4", "5", "2", "2", "4", "3", "2", "6", "7"]


def test_seeding_twice_makes_no_second_version_and_publishes_nothing_more(found: Deployment) -> None:
    effective_at_ms = prepare(found, demo=True)
    with psycopg.connect(found.settings.database_url) as connection:

        def state() -> list[object]:
            queries = (
                "SELECT quiz_id, version FROM quizzes ORDER BY 1",
                "SELECT campaign_id, version, effective_at FROM campaign_versions ORDER BY 1, 2",
                "SELECT number_id, base_url FROM sender_numbers ORDER BY 1",
                "SELECT token_hash, version FROM tokens",
                "SELECT count(*) FROM outbox",
            )
            return [connection.execute(query).fetchall() for query in queries]

        first = state()
        assert prepare(found, demo=True) == effective_at_ms
        assert state() == first
        assert first[-1] == [(0,)]


def test_a_deployment_is_empty_unless_the_demo_is_asked_for(found: Deployment) -> None:
    prepare(found)
    with psycopg.connect(found.settings.database_url) as connection:
        for table in ("tenants", "quizzes", "campaigns", "sender_numbers", "tokens", "outbox"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table


@pytest.mark.parametrize(
    ("arguments", "value", "demo"),
    [([], "", False), ([], "0", False), (["--demo"], "", True), ([], "1", True), (["--demo"], "0", True)],
)
def test_the_demo_is_asked_for_by_an_option_or_a_variable(
    arguments: list[str], value: str, demo: bool
) -> None:
    assert is_demo(arguments, {DEMO_VARIABLE: value}) == demo


def test_another_argument_or_value_is_refused() -> None:
    with pytest.raises(CannotStart):
        is_demo(["--dmeo"], {})
    with pytest.raises(CannotStart):
        is_demo([], {DEMO_VARIABLE: "yes"})


def test_what_an_older_transaction_holds_up_is_waited_for(found: Deployment) -> None:
    """Any transaction that is open on the server does: what it may still write comes first."""
    prepare(found)
    add = "INSERT INTO outbox (topic, key, value) VALUES ('quizzes', %s, NULL)"
    url = found.settings.database_url
    with psycopg.connect(url) as older, psycopg.connect(url, autocommit=True) as newer:
        older.execute(add, [b"older"])
        newer.execute(add, [b"newer"])
        with ThreadPoolExecutor(1) as pool:
            publishing = pool.submit(publish, found)
            early, _ = wait([publishing], timeout=3.0)
            older.rollback()
            publishing.result()
        assert not early
        assert newer.execute("SELECT count(*) FROM outbox").fetchone() == (0,)


def test_the_quizzes_have_the_questions_of_the_tables_and_the_key_of_their_authors(tmp_path: Path) -> None:
    files = datasets.extract(tmp_path)
    quizzes = {quiz.quiz_id: quiz for quiz in read(SEEDS / "quizzes.yaml", list[QuizDraft])}
    for quiz_id, path in files.items():
        with path.open(newline="") as file:
            assert [question.question_id for question in quizzes[quiz_id].questions] == next(csv.reader(file))
    assert [question.right_answer for question in quizzes["iqitems"].questions] == IQITEMS_KEY
    rows = {quiz_id: sum(1 for _ in path.open()) - 1 for quiz_id, path in files.items()}
    assert rows == {dataset.quiz_id: dataset.rows for dataset in datasets.DATASETS}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("- {tenant_id: a", "tenants.yaml is not valid YAML"),
        ("- {tenant_id: a}", "missing required field `name`"),
        ("- {tenant_id: a, name: b, nmae: c}", "unknown field `nmae`"),
    ],
)
def test_a_seed_that_cannot_be_read_is_refused_in_one_line(
    found: Deployment, tmp_path: Path, content: str, said: str
) -> None:
    folder = tmp_path / "seeds"
    folder.mkdir()
    for name in ("quizzes", "numbers", "campaigns"):
        (folder / f"{name}.yaml").write_text("[]")
    (folder / "tenants.yaml").write_text(content)
    with pytest.raises(SeedInvalid, match=said) as refused:
        seed(found, folder)
    assert "\n" not in str(refused.value)


def test_every_seed_file_is_yaml_that_says_who_it_is_for() -> None:
    tenants = {tenant["tenant_id"] for tenant in yaml.safe_load((SEEDS / "tenants.yaml").read_text())}
    for name in ("quizzes", "numbers", "campaigns"):
        listed = yaml.safe_load((SEEDS / f"{name}.yaml").read_text())
        assert listed
        assert {one["tenant_id"] for one in listed} <= tenants
