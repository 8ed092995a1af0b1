"""Everything is read again, with and without the stream's own tables: the ledger stays, nobody is called."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ops.audit.ledger_audit import Report
from tests.support.drill_people import COUNTED, Drill
from tests.support.running_pipeline import Pipeline

pytestmark = [pytest.mark.full, pytest.mark.timeout(900), pytest.mark.xdist_group("drills-replay")]


@pytest.fixture(scope="module")
def answered(people: Drill) -> tuple[Path, Report]:
    """People whose answers are matched, unmatched, repeated, over a limit, and a record that is none."""
    path = people.answer(60)
    people.answer(20, "cinza")
    people.again(path)
    one = people.folder / "insistente.csv"
    one.write_text("cor,telefone\n" + "azul,+5511970000001\n" * 8)
    people.again(one)
    by_limit = people.settled()
    assert by_limit.limited > 0
    assert by_limit.duplicates > 0
    return path, by_limit


def same(found: Report, before: Report) -> None:
    assert [getattr(found, name) for name in COUNTED] == [getattr(before, name) for name in COUNTED]
    assert found.calls == before.calls


def test_every_group_from_the_beginning(people: Drill, answered: tuple[Path, Report]) -> None:
    people.pipeline.rewind_everything()
    same(people.settled(), answered[1])


def test_the_streams_tables_are_deleted_and_everything_is_read_again(
    people: Drill, answered: tuple[Path, Report]
) -> None:
    path, before = answered
    pipeline = people.pipeline
    lose_tables(pipeline)
    people.again(path)  # clients repeat themselves: it is known from the changelog
    repeated = people.settled()
    same(repeated, before)

    lose_tables(pipeline)
    pipeline.rewind_everything()
    same(people.settled(), before)


def lose_tables(pipeline: Pipeline) -> None:
    folder = pipeline.found.settings.home / "worker-0"
    pipeline.supervisor.pause("worker")
    assert any(path.is_dir() for path in folder.iterdir())
    shutil.rmtree(folder)
    pipeline.supervisor.resume("worker")
    pipeline.all_ready()
