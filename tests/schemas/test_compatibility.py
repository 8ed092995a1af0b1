"""What landed once can be read for ever, and CI says so in words when it cannot."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas import catalogue, compatibility
from schemas.codec import HEADER, Codec, Undecodable, codec
from schemas.records import Token

TOKEN = Token("hash", "acme", 1)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A checkout of its own whose current schemas have landed, committed as `main`."""
    folder = tmp_path / "schemas"
    folder.mkdir()
    for event in catalogue.EVENT_TYPES:
        (folder / f"{event}.avsc").write_text((catalogue.FOLDER / f"{event}.avsc").read_text())
    places = {"FOLDER": folder, "LANDED": folder / "landed", "LANDED_ORDER": folder / "landed" / "order.json"}
    for module in (catalogue, compatibility):
        for name, value in places.items():
            monkeypatch.setattr(module, name, value)
    _forget()
    git(tmp_path, "init", "-q", "-b", "main")
    commit(tmp_path)
    git(tmp_path, "tag", "before")
    compatibility.land()
    commit(tmp_path)
    _forget()
    yield tmp_path
    monkeypatch.undo()
    _forget()


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    subprocess.run(("git", *identity, *arguments), cwd=folder, check=True, capture_output=True)


def commit(folder: Path) -> None:
    git(folder, "add", ".")
    git(folder, "commit", "-q", "--allow-empty", "-m", "state")


def change(project: Path, event: str, **new_field: Any) -> None:
    path = project / "schemas" / f"{event}.avsc"
    definition = json.loads(path.read_text())
    definition["fields"].append(new_field)
    path.write_text(json.dumps(definition))
    _forget()


def _forget() -> None:
    for cached in (catalogue.current, catalogue.landed, catalogue.by_id):
        cached.cache_clear()


def test_every_current_schema_has_landed_and_reads_all_that_landed() -> None:
    assert list(compatibility.problems()) == []


def test_no_two_events_share_an_id() -> None:
    ids = [schema.schema_id for event in catalogue.EVENT_TYPES for schema in catalogue.versions(event)]
    assert len(ids) == len(set(ids)) == len(catalogue.by_id())
    assert all(0 < schema_id < 2**31 for schema_id in ids)


def test_an_id_is_of_what_is_on_the_wire_and_of_nothing_else() -> None:
    definition = json.loads(catalogue.current("token").text)
    reworded = {**definition, "doc": "other words"}
    assert catalogue.schema_id_of(reworded) == catalogue.schema_id_of(definition)
    renamed = {**definition, "name": "Other"}
    assert catalogue.schema_id_of(renamed) != catalogue.schema_id_of(definition)


def test_a_new_field_with_a_default_lands_and_old_records_are_still_read(project: Path) -> None:
    old: Codec[Token] = Codec("token")
    written = old.encode(TOKEN)
    change(project, "token", name="note", type="string", default="")
    assert compatibility.main([]) == compatibility.INCOMPATIBLE  # not landed
    assert compatibility.main(["--land"]) == compatibility.RAN
    assert compatibility.main(["--against", "main"]) == compatibility.RAN
    new: Codec[Token] = Codec("token")
    assert new.schema_id != old.schema_id
    assert new.decode(written) == TOKEN
    assert len(catalogue.versions("token")) == 2


def test_a_new_field_without_a_default_is_refused_and_does_not_land(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(project, "token", name="note", type="string")
    assert compatibility.main(["--land"]) == compatibility.INCOMPATIBLE
    assert "token.avsc: cannot read version" in capsys.readouterr().err
    assert len(catalogue.landed("token")) == 1


def test_a_landed_version_that_was_edited_or_taken_away_is_refused(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    landed = project / "schemas" / "landed"
    [quiz_file] = (landed / "quiz").glob("*.avsc")
    quiz_file.write_text((landed.parent / "token.avsc").read_text())
    order = json.loads((landed / "order.json").read_text())
    [token_id] = order.pop("token")
    (landed / "order.json").write_text(json.dumps(order))
    (landed / "token" / f"{token_id}.avsc").unlink()
    _forget()
    assert compatibility.main(["--against", "main"]) == compatibility.INCOMPATIBLE
    said = capsys.readouterr().err
    assert "was changed after it landed" in said or "same schema id" in said
    assert f"schemas/landed/token/{token_id}.avsc: landed in main and is missing" in said
    assert "token: versions may only be added at the end" in said


def test_a_ref_in_which_nothing_landed_has_nothing_to_compare_with(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compatibility.main(["--against", "before"]) == compatibility.RAN
    assert "no schema had landed in before" in capsys.readouterr().out


def test_a_ref_that_git_does_not_know_is_no_answer(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compatibility.main(["--against", "nowhere"]) == compatibility.UNANSWERED
    assert "cannot compare with nowhere" in capsys.readouterr().err


def test_a_version_that_never_landed_is_undecodable() -> None:
    body = codec("token").encode(TOKEN)[HEADER.size :]
    with pytest.raises(Undecodable, match="not a version of token"):
        codec("token").decode(HEADER.pack(0, 1) + body)
