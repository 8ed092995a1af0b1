"""The command line teaches, and what goes wrong is one line and an exit code."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from ops.cli import app, main
from ops.deployment.prepare import prepare
from ops.locate import Deployment, as_env
from tests.support.story import Story

NO_ID = "3f0c8f3e-6f3c-5c7e-9d6e-0a4f6c1b2d3e"


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
        (("explain", "abc"), "'abc' is not an id"),
        (("stop-sending", "--tenant", "a", "--number", "b"), "Give only one of --tenant"),
        (("tenant", "limits", "acme", "address=-5"), "'address=-5' is not NAME=NUMBER or NAME=default"),
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


# Every command that reads the environment, with arguments that reach that point.
READERS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("run",): (),
    ("up",): (),
    ("doctor",): (),
    ("process",): ("edge",),
    ("topology",): ("plan",),
    ("replay",): ("FILE", "--quiz", "q"),
    ("reconcile",): (),
    ("explain",): (NO_ID,),
    ("lag",): (),
    ("restart",): ("edges",),
    ("balancer", "config"): (),
    ("stop-sending",): (),
    ("resume-sending",): (),
    ("capacity",): ("--completions-per-min", "1000"),
    ("audit-log",): (),
    ("tenant", "add"): ("t", "--name", "T"),
    ("tenant", "list"): (),
    ("tenant", "limits"): ("t", "address=5"),
    ("quiz", "add"): ("FILE",),
    ("quiz", "list"): (),
    ("quiz", "show"): ("q",),
    ("quiz", "drop-off"): ("q",),
    ("number", "add"): (
        *("n", "--tenant", "t", "--provider", "meta-cloud"),
        *("--base-url", "http://127.0.0.1:9", "--credential", "TOKEN"),
    ),
    ("number", "list"): (),
    ("number", "hold"): ("n", "--reason", "moved"),
    ("number", "release"): ("n",),
    ("number", "notices"): (),
    ("number", "show"): ("n",),
    ("number", "limit"): ("n", "--people-max", "250"),
    ("number", "rotate-credential"): ("n", "--credential", "ACME_TOKEN_2"),
    ("number", "webhook"): ("n",),
    ("number", "pair"): ("n",),
    ("number", "weights"): ("t", "meta-cloud=100"),
    ("api-key", "create"): ("--tenant", "t", "--name", "k"),
    ("api-key", "list"): ("--tenant", "t"),
    ("api-key", "revoke"): (NO_ID, "--tenant", "t"),
    ("suppression", "add"): ("+5547989211984", "--tenant", "t"),
    ("suppression", "remove"): ("+5547989211984", "--tenant", "t", "--reason", "consent"),
    ("suppression", "list"): ("--tenant", "t"),
    ("suppression", "import"): ("FILE", "--tenant", "t"),
    ("suppression", "export"): ("--tenant", "t"),
    ("suppression", "inbound"): (),
    ("suppression", "words"): ("--tenant", "t"),
    ("campaign", "save"): ("FILE",),
    ("campaign", "cancel"): ("c",),
    ("token", "create"): ("--tenant", "t"),
    ("token", "revoke"): ("--tenant", "t"),
    ("user", "add"): ("--tenant", "t", "--email", "ana@example.com"),
    ("webhook", "list"): ("--tenant", "t"),
    ("webhook", "show"): ("whe_1", "--tenant", "t"),
    ("webhook", "pause"): ("whe_1", "--reason", "floods"),
    ("webhook", "release"): ("whe_1",),
    ("deliveries", "list"): (),
    ("deliveries", "show"): (NO_ID,),
    ("deliveries", "resolve"): (NO_ID, "--as", "sent", "--reason", "seen"),
    ("deliveries", "redrive"): (NO_ID,),
    ("dead-letters", "list"): (),
    ("dead-letters", "show"): (NO_ID,),
    ("dead-letters", "redrive"): ("--all",),
    ("abuse", "list"): (),
    ("abuse", "show"): ("198.51.100.7",),
    ("abuse", "release"): ("198.51.100.7", "--reason", "a school"),
    ("abuse", "block"): ("198.51.100.7", "--reason", "a flood"),
    ("state", "repair"): ("--topic", "delivered_changelog", "--partition", "0", "--offset", "0"),
}
DATABASE_READERS = set(READERS) - {
    *(("run",), ("up",), ("doctor",), ("process",), ("topology",), ("lag",), ("capacity",), ("reconcile",)),
    *(("balancer", "config"), ("abuse", "list"), ("abuse", "show")),
}


def said_by(
    command: tuple[str, ...],
    arguments: tuple[str, ...],
    env: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> tuple[object, list[str]]:
    """Exit status and lines on stderr; in this process, since each start of Python takes a second."""
    file = tmp_path / "file"
    file.write_text("[]\n")
    for name, value in {"QUIZSTREAM_HOME": str(tmp_path / "home"), **env}.items():
        monkeypatch.setenv(name, value)
    given = [str(file) if argument == "FILE" else argument for argument in arguments]
    monkeypatch.setattr(sys, "argv", ["quizstream", *command, *given])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code, [line for line in capfd.readouterr().err.splitlines() if line.strip()]


def test_every_command_that_reads_the_environment_is_listed() -> None:
    without = {("down",), ("chaos",)}
    assert {command for command in commands() if command[0] != "bench"} == set(READERS) | without


@pytest.mark.parametrize("command", READERS, ids=" ".join)
def test_a_port_base_that_is_not_a_number_is_one_line(
    command: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    env = {"QUIZSTREAM_PORT_BASE": "abc"}
    code, lines = said_by(command, READERS[command], env, tmp_path, monkeypatch, capfd)
    assert code == 2
    assert len(lines) == 1
    assert "QUIZSTREAM_PORT_BASE is 'abc': it must be a number, for example 8600." in lines[0]


@pytest.mark.parametrize("command", sorted(DATABASE_READERS), ids=" ".join)
def test_a_database_url_that_is_none_is_one_line_without_its_text(
    command: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    env = {"DATABASE_URL": "garbage-secret"}
    code, lines = said_by(command, READERS[command], env, tmp_path, monkeypatch, capfd)
    assert code == 2
    assert len(lines) == 1
    assert "DATABASE_URL is not a PostgreSQL URL" in lines[0]
    assert "garbage-secret" not in lines[0]


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (("campaign", "save"), ("BAD",)),
        (("reconcile",), ("--accepted", "BAD")),
        (("capacity",), ("--completions-per-min", "1000", "--result", "BAD")),
    ],
    ids=" ".join,
)
def test_a_file_that_is_not_utf_8_is_one_line(
    command: tuple[str, ...],
    arguments: tuple[str, ...],
    found: Deployment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    prepare(found, demo=True)
    bad = tmp_path / "bad"
    bad.write_bytes(b'"caf\xe9"\n')
    given = tuple(str(bad) if argument == "BAD" else argument for argument in arguments)
    code, lines = said_by(command, given, as_env(found.settings), tmp_path, monkeypatch, capfd)
    assert code == 2
    assert len(lines) == 1
    assert str(bad) in lines[0]


def test_an_output_file_that_cannot_be_written_is_one_line(
    found: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    prepare(found, demo=True)
    answers = tmp_path / "x.csv"
    answers.write_text("A1\n2\n")
    arguments = (str(answers), "--quiz", "bfi", "--accepted-out", str(tmp_path / "none" / "ids"))
    code, lines = said_by(("replay",), arguments, as_env(found.settings), tmp_path, monkeypatch, capfd)
    assert code == 2
    assert "No such file or directory" in lines[-1]
    assert not any("Traceback" in line for line in lines)


def test_lag_of_brokers_that_accept_connections_and_do_not_answer_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        env = {"KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{silent.getsockname()[1]}"}
        code, lines = said_by(("lag",), ("--watch",), env, tmp_path, monkeypatch, capfd)
    assert code == 2
    assert len(lines) == 1
    assert lines[0].startswith("quizstream: Kafka: ")


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
    prepare(found, demo=True)
    env = as_env(found.settings)
    (tmp_path / "x.csv").write_text("A1\n2\n")
    moved = "UPDATE sender_numbers SET base_url = 'https://graph.facebook.com' WHERE tenant_id = %s"
    Story(found, "", "", "", "").sql(moved, "demo-personalidade")
    done = quizstream(env, "replay", str(tmp_path / "x.csv"), "--quiz", "bfi")
    assert done.returncode == 2
    assert "strangers could receive messages" in done.stderr
