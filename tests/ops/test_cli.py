"""The command line teaches, and what goes wrong is one line and an exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from ops.cli import app
from ops.deployment.prepare import prepare
from ops.locate import Deployment, as_env
from tests.support.story import Story


def commands() -> list[tuple[str, ...]]:
    def below(command: Any, path: tuple[str, ...]) -> list[tuple[str, ...]]:
        inside = getattr(command, "commands", None)
        if inside is None:
            return [path]
        return [leaf for name, sub in inside.items() for leaf in below(sub, (*path, name))]

    return below(typer.main.get_command(app), ())


def quizstream(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ops.cli", *arguments],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_has_an_example_and_says_its_exit_codes(command: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert f"quizstream {' '.join(command)}" in " ".join(result.output.split())
    if command != ("process",):  # it ends as the process does
        assert "Exit codes:" in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("replay", "nowhere.csv", "--quiz", "q"), "Cannot read nowhere.csv: No such file or directory."),
        (("process", "nobody"), "There is no process 'nobody': choose one of edge"),
        (("explain", "abc"), "'abc' is no id"),
        (("stop-sending", "--tenant", "a", "--number", "b"), "Name one of --tenant"),
    ],
)
def test_what_cannot_be_done_is_one_line_that_says_what_to_do(
    arguments: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    done = quizstream({"QUIZSTREAM_HOME": str(tmp_path)}, *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_servers_that_are_away_are_one_line_too(tmp_path: Path) -> None:
    env = {"QUIZSTREAM_HOME": str(tmp_path), "DATABASE_URL": "postgresql://127.0.0.1:9/none"}
    done = quizstream(env, "campaign", "cancel", "c")
    assert done.returncode == 2
    assert done.stderr.startswith("quizstream: PostgreSQL:")
    assert "quizstream doctor" in done.stderr


def test_reconcile_answers_by_its_exit_code_and_as_json(story: Story) -> None:
    env = as_env(story.found.settings)
    holds = quizstream(env, "reconcile", "--json")
    assert holds.returncode == 0, holds.stderr
    assert '"ok":true' in holds.stdout
    story.sql("DELETE FROM completions WHERE completion_id = %s", story.first)
    broken = quizstream(env, "reconcile")
    assert broken.returncode == 1
    assert story.first in broken.stdout
    assert "The ledger does NOT hold." in broken.stdout


def test_people_who_are_made_up_are_not_written_to_by_a_real_provider(
    found: Deployment, tmp_path: Path
) -> None:
    prepare(found)
    env = as_env(found.settings)
    (tmp_path / "x.csv").write_text("A1\n2\n")
    moved = "UPDATE sender_numbers SET base_url = 'https://graph.facebook.com' WHERE tenant_id = %s"
    Story(found, "", "", "", "").sql(moved, "demo-personalidade")
    done = quizstream(env, "replay", str(tmp_path / "x.csv"), "--quiz", "bfi")
    assert done.returncode == 2
    assert "strangers could be written to" in done.stderr
