"""`quizstream user add` makes a tenant's first user, and its password is in no argument."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from ops.cli import app
from pipeline.errors import OperatorError
from sinks.postgres.catalogue.operations import add_tenant
from sinks.postgres.catalogue.users import passwords
from sinks.postgres.connect import connect

COMMAND = ["user", "add", "--tenant", "acme", "--email", "Ana@example.com"]


@pytest.fixture
def tenant(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("QUIZSTREAM_HOME", str(tmp_path))
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("QUIZSTREAM_ACTOR", "ops")
    with connect(database_url, "test") as connection:
        add_tenant(connection, "ops", "acme", "Acme")
    return database_url


def test_a_user_is_added_with_the_password_of_standard_input(tenant: str) -> None:
    done = CliRunner().invoke(app, COMMAND, input="correct horse battery\n")
    assert done.exit_code == 0, done.output
    with connect(tenant, "test") as connection:
        rows = connection.execute("SELECT user_id, email, role, password_hash FROM users").fetchall()
        log = connection.execute("SELECT actor, action, detail FROM audit_log ORDER BY audit_id DESC")
        assert log.fetchone() == ("ops", "user.create", {"role": "owner"})
    ((user_id, email, role, hashed),) = rows
    assert (user_id, email, role) == (done.stdout.strip(), "ana@example.com", "owner")
    assert passwords.matches("correct horse battery", str(hashed))


@pytest.mark.parametrize(
    ("changed", "given", "said"),
    [
        ([], "short\n", "12 to 128 characters"),
        ([], "", "12 to 128 characters"),
        (["--tenant", "none"], "correct horse battery\n", "there is no such tenant"),
        (["--email", "ana"], "correct horse battery\n", "not an address"),
    ],
    ids=["short", "empty", "tenant", "address"],
)
def test_a_user_that_cannot_be_added_is_an_error_without_the_password(
    tenant: str, changed: list[str], given: str, said: str
) -> None:
    done = CliRunner().invoke(app, [*COMMAND, *changed], input=given)
    assert isinstance(done.exception, OperatorError)
    assert said in done.exception.message
    assert "horse" not in done.exception.message
