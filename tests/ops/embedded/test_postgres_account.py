"""As root, PostgreSQL gets a folder that its user can reach; no folder of the machine is opened for it."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from ops.embedded.home import Home
from ops.embedded.postgres_account import choose_place
from ops.embedded.postgres_distribution import server_programs

only_root = pytest.mark.xfail(
    os.geteuid() != 0, reason="only root changes to another user", run=False, strict=True
)


def silent(_line: str) -> None:
    return None


@pytest.fixture
def closed_home(open_path: Path) -> Home:
    closed = open_path / "closed"
    home = Home(closed / "home")
    home.prepare(free_bytes_min=0)
    closed.chmod(0o700)
    return home


@pytest.fixture
def programs(open_path: Path) -> Path:
    """Programs that every user can reach."""
    folder = open_path / "installation" / "bin"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def elsewhere(open_path: Path) -> Path:
    return open_path / "elsewhere"


@only_root
def test_a_home_behind_a_closed_folder_keeps_its_data_elsewhere(
    closed_home: Home, elsewhere: Path, programs: Path
) -> None:
    told: list[str] = []
    place = choose_place(closed_home, programs, told.append, elsewhere)
    assert place.account is not None
    assert place.folder.parent == elsewhere
    assert place.folder.stat().st_uid == pwd.getpwnam(place.account.name).pw_uid != 0
    assert (closed_home.path / "postgres").resolve() == place.folder
    assert stat.S_IMODE(closed_home.path.parent.stat().st_mode) == 0o700
    assert any("its data is in" in line for line in told)


@only_root
def test_a_home_that_is_closed_itself_keeps_its_data_elsewhere(
    open_path: Path, elsewhere: Path, programs: Path
) -> None:
    """As a folder of `tempfile` is."""
    home = Home(open_path / "home")
    home.prepare(free_bytes_min=0)
    home.path.chmod(0o700)

    place = choose_place(home, programs, silent, elsewhere)

    assert place.folder.is_relative_to(elsewhere)


@only_root
def test_the_second_start_finds_the_same_data(closed_home: Home, elsewhere: Path, programs: Path) -> None:
    first = choose_place(closed_home, programs, silent, elsewhere)
    (first.folder / "data").mkdir()
    assert choose_place(closed_home, programs, silent, elsewhere) == first
    assert (first.folder / "data").is_dir()


@only_root
def test_a_new_home_at_an_old_path_does_not_inherit_its_data(
    closed_home: Home, elsewhere: Path, programs: Path
) -> None:
    first = choose_place(closed_home, programs, silent, elsewhere)
    (first.folder / "data").mkdir()
    (closed_home.path / "postgres").unlink()  # as a removed home leaves it
    again = choose_place(closed_home, programs, silent, elsewhere)
    assert not (again.folder / "data").exists()


@only_root
def test_the_data_of_a_temporary_home_that_is_gone_goes_too(
    closed_home: Home, elsewhere: Path, programs: Path
) -> None:
    gone = choose_place(closed_home, programs, silent, elsewhere).folder
    shutil.rmtree(closed_home.path)
    other = Home(closed_home.path.with_name("other"))
    other.prepare(free_bytes_min=0)
    kept = choose_place(other, programs, silent, elsewhere).folder
    assert (gone.exists(), kept.exists()) == (False, True)


@only_root
@pytest.mark.parametrize("linked", [False, True])
def test_programs_behind_a_closed_folder_are_run_from_a_copy(
    closed_home: Home, elsewhere: Path, open_path: Path, linked: bool
) -> None:
    """Also where a cache in an open folder is a link to one that is closed."""
    closed = closed_home.path / "postgresql-test" / "bin"
    shutil.copytree(server_programs(silent).parent, closed.parent, symlinks=True)
    if linked:
        (open_path / "cache").symlink_to(closed_home.path)
        closed = open_path / "cache" / "postgresql-test" / "bin"
    for _ in range(2):
        place = choose_place(closed_home, closed, silent, elsewhere)
        assert place.account is not None
        assert place.binaries.is_relative_to(elsewhere)
        for program in ("initdb", "postgres"):
            told = subprocess.run(
                [place.binaries / program, "--version"],
                user=place.account.uid,
                group=place.account.gid,
                cwd="/",
                capture_output=True,
                text=True,
                check=True,
            )
            assert "PostgreSQL) 18" in told.stdout
    assert [path.name for path in elsewhere.iterdir() if path.name.startswith("postgresql")] == [
        "postgresql-test"
    ]
