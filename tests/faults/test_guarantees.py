"""What is promised in words is held by tests that are there, and each promise by a short one in every run."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
GUARANTEES = CHECKOUT / "docs" / "guarantees.md"
LINK = re.compile(r"\[([^\]]+)\]\(\.\./(tests/[^)#]+\.py)(?:#(\w+))?\)")
PROMISED, _, NOT_PROMISED = GUARANTEES.read_text().partition("## Promised")[2].partition("## Not promised")


def promises(text: str) -> list[str]:
    """The items of every list."""
    return [part.partition("\n\n")[0] for part in re.split(r"(?:^|\n)- ", re.sub(r"\n#+ .*", "", text))[1:]]


@cache
def marked_full(path: str) -> dict[str, bool]:
    """Test -> whether it is marked `full`, so that only `make test-full` runs it."""
    module = ast.parse((CHECKOUT / path).read_text())
    of_all = any(
        isinstance(node, ast.Assign)
        and ast.unparse(node.targets[0]) == "pytestmark"
        and "mark.full" in ast.unparse(node.value)
        for node in module.body
    )
    return {
        node.name: of_all
        # Not one that marks only some of a test's parameters.
        or any(ast.unparse(mark).startswith("pytest.mark.full") for mark in node.decorator_list)
        for node in module.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


@pytest.mark.parametrize("promise", promises(PROMISED) + promises(NOT_PROMISED))
def test_every_sentence_names_tests_that_are_there(promise: str) -> None:
    links = LINK.findall(promise)
    assert links
    for label, path, name in links:
        assert (CHECKOUT / path).is_file(), path
        assert name in marked_full(path), f"{path} has no test {name or '(none is named)'}"
        assert label.endswith("*") == marked_full(path)[name], (
            f"{name}: a star stands for `full`, and only for it"
        )


@pytest.mark.parametrize("promise", promises(PROMISED))
def test_every_promise_has_a_test_that_runs_in_every_run(promise: str) -> None:
    """What takes minutes is run rarely: beside it, each promise has a short test."""
    assert any(not marked_full(path)[name] for _, path, name in LINK.findall(promise))


SHORT_ALONE = "A tenant's data is its own"  # seconds show it: no process of the stream has a part in it


def test_there_are_promises_of_every_kind() -> None:
    kinds = re.split(r"\n### ", PROMISED)[1:]
    assert len(kinds) == 5
    assert len(promises(PROMISED)) > 20
    for kind in kinds:
        if kind.startswith(SHORT_ALONE):
            continue
        assert any(label.endswith("*") for label, _, _ in LINK.findall(kind)), kind.partition("\n")[0]
