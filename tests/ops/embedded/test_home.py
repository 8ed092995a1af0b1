"""A home belongs to one owner at a time, and what a dead owner left does not stand in the way."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ops.embedded.home import Home
from pipeline.errors import CannotStart


def silent(_line: str) -> None:
    return None


def ended_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.prepare(free_bytes_min=0)
    return home


def test_the_lock_holds_its_owners_pid(home: Home) -> None:
    lock = home.lock(silent)
    assert home.owner_pid() == os.getpid()
    lock.release()


def test_a_second_owner_is_told_who_the_first_is(home: Home) -> None:
    lock = home.lock(silent)
    with pytest.raises(CannotStart, match=f"in use by process {os.getpid()}"):
        home.lock(silent)
    lock.release()
    home.lock(silent).release()


def test_the_lock_file_of_a_killed_owner_is_taken_over(home: Home) -> None:
    home.lock_file.write_text(f"{ended_pid()}\n")
    lock = home.lock(silent)
    assert home.owner_pid() == os.getpid()
    lock.release()


def test_servers_of_a_killed_owner_are_waited_for(home: Home) -> None:
    lock = home.lock(silent)
    heir = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"],
        stdin=subprocess.PIPE,
        pass_fds=[lock.descriptor],
    )
    lock.release()
    home.lock_file.write_text(f"{ended_pid()}\n")
    told: list[str] = []

    def end_the_heir(line: str) -> None:
        told.append(line)
        heir.communicate()

    home.lock(end_the_heir).release()
    assert told == ["waiting for the servers of an earlier run to stop"]


def test_servers_that_never_stop_are_reported(home: Home) -> None:
    lock = home.lock(silent)
    home.lock_file.write_text(f"{ended_pid()}\n")
    with pytest.raises(CannotStart, match="Servers of an earlier run still use"):
        home.lock(silent, leftover_wait_s=0)
    lock.release()


def test_a_full_disk_is_one_clear_line(tmp_path: Path) -> None:
    more_than_there_is = shutil.disk_usage(tmp_path).free + 1024**4
    with pytest.raises(CannotStart, match=r"Only \d+ MiB are free .* free some space") as refused:
        Home(tmp_path / "home").prepare(more_than_there_is)
    assert "\n" not in refused.value.message


def test_a_home_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CannotStart, match=r"Cannot make the folder .* QUIZSTREAM_HOME"):
        Home(tmp_path / "file" / "home").prepare()


def test_removing_a_home_takes_along_what_lies_elsewhere_for_it(home: Home, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (home.path / "postgres").symlink_to(elsewhere)
    home.remove()
    assert not home.path.exists()
    assert not elsewhere.exists()


def test_the_default_home_lies_in_the_current_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert Home.from_env({}).path == tmp_path / ".quizstream"
    assert Home.from_env({"QUIZSTREAM_HOME": "mine"}).path == tmp_path / "mine"
