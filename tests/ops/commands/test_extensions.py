"""Commands of packages that an image may leave out are found through entry points."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import typer

from ops.commands import extensions


def register(app: typer.Typer) -> None:
    app.command("measure")(lambda: None)


def registered(monkeypatch: pytest.MonkeyPatch, value: str) -> list[str | None]:
    point = EntryPoint("measure", value, extensions.GROUP)
    monkeypatch.setattr(extensions, "entry_points", lambda group: [point])
    app = typer.Typer()
    extensions.register_commands(app)
    return [command.name for command in app.registered_commands]


def test_a_package_that_is_present_adds_its_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    assert registered(monkeypatch, f"{__name__}:register") == ["measure"]


@pytest.mark.parametrize("module", ["no_such_package.commands", "ops.no_such_module"])
def test_a_package_that_is_absent_is_skipped(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    assert registered(monkeypatch, f"{module}:register") == []


def test_a_package_whose_own_import_fails_is_not_skipped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "broken_commands.py").write_text("import no_such_dependency\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        registered(monkeypatch, "broken_commands:register")


def test_this_checkout_has_the_commands_for_development() -> None:
    from ops.cli import app

    assert {"bench", "chaos"} <= set(getattr(typer.main.get_command(app), "commands", {}))
