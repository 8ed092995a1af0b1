"""PostgreSQL 18, on a loopback port, with a password of the home's own.

`ops.embedded.postgres_distribution` has its programs. Without a Unix socket a path may have any length.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from ops.embedded.home import Home
from ops.embedded.postgres_account import Place, choose_place
from ops.embedded.postgres_distribution import server_programs
from ops.embedded.server import Command, RunningServer, run_to_end
from pipeline.errors import CannotStart
from pipeline.runtime.ports import LOOPBACK, Ports

ROLE = "quizstream"
DATABASE = "quizstream"
INITDB_TIMEOUT_S = 120.0
READY_TIMEOUT_S = 60.0
CONNECT_TIMEOUT_S = 3
ORPHANS_GONE_S = 20.0
WAL_SEGMENT_MIB = 16  # PostgreSQL's own default

SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "1GB",  # keys are random: the indexes of some million completions are all in use
    "synchronous_commit": "on",  # a committed row outlives a crash of the server: the ledger stands on it
    # The first change of a page after a checkpoint logs the whole page, and random keys change every page of
    # an index again: at 3,334 completions/s 1GB was used up in a minute, and each checkpoint cost more.
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "min_wal_size": "80MB",
    "max_locks_per_transaction": "256",  # a query over many day partitions locks each of them
    # Without it the extension of this name can be created and shows nothing. No process depends on it.
    "shared_preload_libraries": "pg_stat_statements",
    "jit": "off",  # short queries; compiling costs more than it saves
    "log_min_messages": "warning",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


def start(
    home: Home,
    ports: Ports,
    inherited_fds: Sequence[int],
    progress: Callable[[str], None],
    *,
    wal_segment_mib: int = WAL_SEGMENT_MIB,
    cancelled: threading.Event | None = None,
) -> tuple[RunningServer, str]:
    """Returns the server, ready, and the URL of its database. Raises CannotStart.

    `wal_segment_mib` (a power of two) counts for a cluster that is made now.
    """
    place = choose_place(home, server_programs(progress), progress)
    password = _password(home)

    def command(name: str, program: str, *arguments: str) -> Command:
        return Command(
            name=name,
            argv=[str(place.binaries / program), *arguments],
            cwd=place.folder,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "TZ": "UTC"},
            log=home.logs / "postgres.log",
            stop_signal=signal.SIGINT,  # PostgreSQL's "fast" shutdown: ends sessions, writes a checkpoint
            run_as=place.account,
        )

    data = place.folder / "data"
    if not data.exists():
        progress("PostgreSQL: making its cluster")
        _initialise(
            place,
            data,
            password,
            lambda *arguments: command(
                "PostgreSQL's initdb", "initdb", *arguments, "--wal-segsize", str(wal_segment_mib)
            ),
            inherited_fds,
        )
    # We hold the home's lock, which every process of an earlier owner's cluster held too: only this owner's
    # own server may have left sessions.
    _end_orphans(data)
    (data / "postmaster.pid").unlink(missing_ok=True)
    settings = [argument for name, value in SETTINGS.items() for argument in ("-c", f"{name}={value}")]
    server = RunningServer(
        command("PostgreSQL", "postgres", "-D", str(data), "-p", str(ports.postgres), *settings),
        inherited_fds,
    )
    address = f"postgresql://{ROLE}:{password}@{LOOPBACK}:{ports.postgres}"
    try:
        server.wait_ready(lambda: _answers(f"{address}/postgres"), READY_TIMEOUT_S, cancelled)
        _ensure_database(f"{address}/postgres")
        url = f"{address}/{DATABASE}"
        _write_private(home.database_url_file, url)
        progress("PostgreSQL is ready")
    except BaseException:
        server.stop()
        raise
    return server, url


def _end_orphans(data: Path) -> None:
    """Ends the sessions of a server of ours that was killed: they would write beside the new server.

    A session notices its server's death only when it waits, not in the middle of a long statement. The new
    server recovers from the WAL as after a crash. Raises CannotStart when one does not end.
    """
    folder = os.path.realpath(data)
    orphans = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.name() == "postgres" and process.cwd() == folder:
                process.kill()
                orphans.append(process)
    _, alive = psutil.wait_procs(orphans, ORPHANS_GONE_S)
    if alive:
        raise CannotStart(
            f"{len(alive)} sessions of the PostgreSQL that ended are still running after "
            f"{ORPHANS_GONE_S:.0f} s: end process {alive[0].pid}, then it starts."
        )


def _password(home: Home) -> str:
    path = home.path / "postgres.password"
    if not path.exists():
        _write_private(path, secrets.token_hex(16))
    return path.read_text().strip()


def _write_private(path: Path, text: str) -> None:
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    unfinished.replace(path)


def _initialise(
    place: Place, data: Path, password: str, initdb: Callable[..., Command], inherited_fds: Sequence[int]
) -> None:
    """Makes the cluster beside its final name, so that one broken off half-way is never taken for whole."""
    unfinished = data.with_name("data.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    password_file = place.folder / "initdb.password"
    password_file.touch(0o600)
    password_file.write_text(password)
    try:
        if place.account is not None:
            os.chown(password_file, place.account.uid, place.account.gid)
        run_to_end(
            initdb(
                *(
                    "-D",
                    str(unfinished),
                    "-U",
                    ROLE,
                    "--pwfile",
                    str(password_file),
                    "--auth",
                    "scram-sha-256",
                ),
                *("--encoding", "UTF8", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"),
                *("--locale", "C"),
            ),
            inherited_fds,
            INITDB_TIMEOUT_S,
        )
    finally:
        password_file.unlink()
    unfinished.rename(data)


def _answers(url: str) -> bool:
    try:
        with psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_S):
            return True
    except psycopg.OperationalError as error:
        if "password authentication failed" in str(error):
            raise CannotStart(
                "PostgreSQL rejects the home's password: postgres.password is not the one that its cluster "
                "was made with. Put it back, or run `make clean` to begin with an empty home."
            ) from error
        return False


def _ensure_database(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
