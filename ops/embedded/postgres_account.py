"""The system user that runs PostgreSQL, and the place of its files.

PostgreSQL does not run as root. Under root it runs as a system user. No folder of the machine is opened for
that user: if it cannot reach the home or the programs (for example a cache under /root), their files are in a
folder under /var/lib, linked from the home.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ops.embedded.home import Home
from ops.embedded.postgres_distribution import move_into_place
from ops.processes.tether import Account
from pipeline.errors import CannotStart

SYSTEM_USER = "pgserver"
ELSEWHERE = Path("/var/lib/quizstream")


@dataclass(frozen=True, slots=True)
class Place:
    """`folder` belongs to `account` (None: to us) and is reachable for it, as are the `binaries`."""

    account: Account | None
    folder: Path
    binaries: Path


def choose_place(
    home: Home, binaries: Path, progress: Callable[[str], None], elsewhere: Path = ELSEWHERE
) -> Place:
    """Makes `postgres/` of the home ready for the user that will use it. Raises CannotStart.

    `binaries`: the folder of the server's programs, in an installation of their own.
    """
    folder = home.path / "postgres"
    if os.geteuid() != 0:
        folder.mkdir(exist_ok=True)
        return Place(None, folder, binaries)
    account = _account()
    if not _reachable(binaries / "postgres", account):
        binaries = _copy_of(binaries, elsewhere)
        progress(f"PostgreSQL: user {account.name} cannot reach {binaries}; it runs a copy in {elsewhere}")
    if folder.is_symlink() or not (folder.is_dir() or _reachable(folder, account)):
        target = elsewhere / hashlib.sha256(os.fsencode(home.path)).hexdigest()[:16]
        _make(elsewhere, 0o711)
        if not folder.is_symlink():
            _sweep(elsewhere)
            shutil.rmtree(target, ignore_errors=True)  # of a home that was here before and has been removed
            target.with_name(f"{target.name}.home").write_text(str(folder))
            folder.symlink_to(target)
        _make(folder.readlink(), 0o700)
        folder = folder.resolve()
        progress(f"PostgreSQL: user {account.name} cannot reach {home.path}; its data is in {folder}")
    folder.mkdir(mode=0o700, exist_ok=True)
    os.chown(folder, account.uid, account.gid)
    if not _reachable(folder, account):
        raise CannotStart(
            f"PostgreSQL's user {account.name} can no longer reach {folder}: "
            f"open its parent folders for passing through (chmod o+x), or use another QUIZSTREAM_HOME."
        )
    return Place(account, folder, binaries)


def _sweep(elsewhere: Path) -> None:
    """Removes the data of temporary homes that are gone. Of other homes the disk may only not be mounted."""
    for note in elsewhere.glob("*.home"):
        link, data = Path(note.read_text()), note.with_suffix("")
        if link.is_relative_to(tempfile.gettempdir()) and not link.is_symlink():
            shutil.rmtree(data, ignore_errors=True)
            note.unlink(missing_ok=True)


def _account() -> Account:
    try:
        entry = pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        entry = _new_account()
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _new_account() -> pwd.struct_passwd:
    useradd = shutil.which("useradd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if useradd is None:
        # Every Debian has it, and all it needs to do is own one folder.
        return pwd.getpwnam("nobody")
    made = subprocess.run(
        [
            useradd,
            "--system",
            "--user-group",
            "--no-create-home",
            "--shell",
            "/usr/sbin/nologin",
            SYSTEM_USER,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        raise CannotStart(
            f"PostgreSQL does not run as root and the user {SYSTEM_USER} cannot be made ({made.stderr}): "
            f"make it by hand, or start as another user than root."
        ) from None


def _reachable(path: Path, account: Account) -> bool:
    """Whether the account may pass through every folder above `path`, by owner, group or others' bits.

    Where a link leads elsewhere, both ways count.
    """
    folders = {*path.absolute().parents, *path.resolve().parents}
    return all(_may_pass(folder, account) for folder in folders)


def _may_pass(folder: Path, account: Account) -> bool:
    status = folder.stat()
    if status.st_uid == account.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def _make(folder: Path, mode: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(mode)


def _copy_of(binaries: Path, elsewhere: Path) -> Path:
    """The binaries in a copy of their installation (60 MB), whose name has its version and hash."""
    installation = binaries.parent
    copy = elsewhere / installation.name
    if not copy.exists():
        _make(elsewhere, 0o711)
        unfinished = elsewhere / f"{installation.name}.{os.getpid()}"
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(installation, unfinished, symlinks=True)
        unfinished.chmod(0o755)
        move_into_place(unfinished, copy)
    return copy / binaries.name
