"""The documents name only files that exist, and their lines fit on a screen."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted(
    [CHECKOUT / "README.md", CHECKOUT / "ARCHITECTURE.md", *(CHECKOUT / "docs").glob("*.md")],
    key=lambda path: path.name,
)
LINE_CHARS_MAX = 140
LINK = re.compile(r"\]\(([^)\s]+)\)")
SPAN = re.compile(r"`([^`\n]+)`")
FILE = re.compile(r"[\w.-]+(?:/[\w.-]+)*\.(?:py|sql|ya?ml|json|toml|avsc|md)")
FOLDER = re.compile(r"(?:[\w.-]+/)+")
NEW = "(new)"  # a recipe's line about a file that its reader will create
MADE_BY_A_RUN = {"servers.json"}  # in the home of a deployment


def names() -> set[str]:
    """Return every committed path, every folder of one, and the last part of each path."""
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    folders = {f"{folder}/" for file in files for folder in Path(file).parents}
    return {*files, *folders, *(Path(file).name for file in files)}


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of the lines outside of code blocks."""
    code = False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.lstrip().startswith("```"):
            code = not code
        elif not code:
            yield number, line


def unknown_paths(path: Path, known: set[str]) -> list[str]:
    return [
        f"{path.name}:{number}: {span}"
        for number, line in prose(path)
        if NEW not in line
        for span in SPAN.findall(line)
        if (FILE.fullmatch(span) or (FOLDER.fullmatch(span) and not span.startswith(".")))
        and span not in known | MADE_BY_A_RUN
    ]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_to_a_file(path: Path) -> None:
    for number, line in prose(path):
        for link in LINK.findall(line):
            if not link.startswith(("http:", "https:", "#")):
                assert (path.parent / link.partition("#")[0]).exists(), f"{path.name}:{number}: {link}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_named_path_exists(path: Path) -> None:
    assert unknown_paths(path, names()) == []


def test_a_path_that_does_not_exist_is_found(tmp_path: Path) -> None:
    document = tmp_path / "document.md"
    document.write_text("See `ops/cli.py`, `ops/nowhere.py` and `nowhere/`; create `ops/later.py` (new)?\n")
    assert unknown_paths(document, names()) == []
    document.write_text("See `ops/cli.py`, `ops/nowhere.py` and `nowhere/`.\n")
    assert unknown_paths(document, names()) == ["document.md:1: ops/nowhere.py", "document.md:1: nowhere/"]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_no_line_is_longer_than_a_screen(path: Path) -> None:
    long = [number for number, line in prose(path) if len(line) > LINE_CHARS_MAX]
    assert long == [], f"{path.name}: lines with more than {LINE_CHARS_MAX} characters"
