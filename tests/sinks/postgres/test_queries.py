from __future__ import annotations

from pathlib import Path

import pytest

from sinks.postgres.queries import BadQueries, load_queries

SINKS = Path(load_queries.__code__.co_filename).parents[1]
FILES = sorted(
    path for path in SINKS.rglob("*.sql") if "-- " in path.read_text() and "schema" not in path.parts
)


def test_a_query_has_its_name_and_loses_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "some.sql"
    path.write_text("-- one --\n-- 100% of the reason.\nSELECT 1;\n\n-- two --\nSELECT\n    %s;\n")

    assert load_queries(path) == {"one": "/* one */ SELECT 1", "two": "/* two */ SELECT\n    %s"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("SELECT 1;\n-- one --\nSELECT 1;", "before the first"),
        ("-- one --\n-- only a reason\n", "one is empty"),
        ("-- one --\nSELECT 1;\n-- one --\nSELECT 2;", "defined twice"),
    ],
)
def test_a_file_that_is_no_list_of_queries_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "some.sql"
    path.write_text(text)

    with pytest.raises(BadQueries, match=problem):
        load_queries(path)


@pytest.mark.parametrize("path", [path for path in FILES if path.name != "schema.sql"], ids=lambda p: p.stem)
def test_the_queries_of_every_module_load(path: Path) -> None:
    assert load_queries(path)
