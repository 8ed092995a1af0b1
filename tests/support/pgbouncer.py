"""A running PgBouncer before the tests' PostgreSQL, with transaction pooling."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.support.nginx import listens
from tests.support.ports import free_ports

STARTED_WITHIN_S = 60.0  # a bound on a hang
UNPRIVILEGED = "nobody"  # PgBouncer refuses to run as root


def require_pgbouncer() -> str:
    """Its path. Skips on a laptop without it, and fails in CI."""
    found = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        said = "pgbouncer is not installed (Debian: apt install pgbouncer): pooling is not tested"
        if os.environ.get("CI"):
            pytest.fail(said)
        pytest.skip(said)
    return found


@contextmanager
def pooled(url: str, connections: int) -> Iterator[str]:
    """The URL through PgBouncer, which shares so many connections between all transactions."""
    program, port, to = require_pgbouncer(), free_ports().base, conninfo_to_dict(url)
    password = str(to.get("password") or "")
    with tempfile.TemporaryDirectory() as folder:
        users, file = Path(folder) / "users.txt", Path(folder) / "pgbouncer.ini"
        users.write_text(f'"{to["user"]}" "{password}"\n')
        file.write_text(
            f"""[databases]
* = host={to["host"]} port={to.get("port", 5432)}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = {"scram-sha-256" if password else "trust"}
auth_file = {users}
pool_mode = transaction
default_pool_size = {connections}
max_client_conn = 200
"""
        )
        Path(folder).chmod(0o755)  # PgBouncer reads them as another user
        as_user = ["-u", UNPRIVILEGED] if os.geteuid() == 0 else []
        log = Path(folder) / "log"
        with log.open("wb") as out:
            process = subprocess.Popen([program, *as_user, str(file)], stdout=out, stderr=out)
        try:
            give_up_at = time.monotonic() + STARTED_WITHIN_S
            while not listens(port):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < give_up_at, "PgBouncer does not listen"
                time.sleep(0.05)
            login = f"{to['user']}:{quote(password)}" if password else str(to["user"])
            yield f"postgresql://{login}@127.0.0.1:{port}/{to['dbname']}"
        finally:
            process.terminate()
            process.wait(STARTED_WITHIN_S)
