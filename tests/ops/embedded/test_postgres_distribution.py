"""The embedded server has the extensions that installations expect, and client programs of its version."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from ops.embedded.jars import read_lock, sha256_of
from ops.embedded.postgres_distribution import (
    ARTIFACTS,
    LOCK_FILE,
    client_programs,
    jar_for,
    server_programs,
)
from ops.embedded.stack import ServerUrls
from pipeline.errors import CannotStart

EXTENSIONS = ("pg_trgm", "pgcrypto", "pg_stat_statements")
TRIES_MAX = 5
# Not pg_verifybackup: that of the wheel ends with a segmentation fault, also on --version.
COPIES = ("pg_dump", "pg_restore", "pg_basebackup", "pg_receivewal", "psql")


def test_the_lock_has_each_machine_with_a_hash_and_no_address() -> None:
    assert [jar.artifact for jar in read_lock(LOCK_FILE)] == list(ARTIFACTS.values())
    assert len({jar.version for jar in read_lock(LOCK_FILE)}) == 1
    assert "://" not in LOCK_FILE.read_text()


def test_a_machine_without_a_server_is_told_what_to_do() -> None:
    with pytest.raises(CannotStart, match=r"s390x.*DATABASE_URL"):
        jar_for("s390x")


def test_the_server_is_the_one_that_is_compiled_for_speed() -> None:
    programs = server_programs(lambda line: None)
    assert sha256_of(programs / "postgres") == sha256_of(client_programs() / "postgres")


def test_the_extensions_can_be_created_and_used(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        for name in EXTENSIONS:
            connection.execute(f"CREATE EXTENSION {name}".encode())
        row = connection.execute(
            "SELECT similarity('quiz', 'quizz') > 0.5, length(digest('quiz', 'sha256')),"
            " (SELECT count(*) FROM pg_stat_statements WHERE query LIKE 'CREATE EXTENSION%') >= 1"
        ).fetchone()
    assert row == (True, 32, True)


def test_every_client_program_has_the_version_of_the_server(stack: ServerUrls) -> None:
    with psycopg.connect(stack.database_url) as connection:
        row = connection.execute("SHOW server_version").fetchone()
    assert row is not None
    for name in COPIES:
        told = subprocess.run(
            [client_programs() / name, "--version"], capture_output=True, text=True, check=True
        )
        assert told.stdout.split()[-1] == row[0], name


def test_a_base_backup_of_the_server_is_whole(stack: ServerUrls, tmp_path: Path) -> None:
    address = conninfo_to_dict(stack.database_url)
    env = {
        **os.environ,
        "PGHOST": str(address["host"]),
        "PGPORT": str(address["port"]),
        "PGUSER": str(address["user"]),
        "PGPASSWORD": str(address["password"]),
    }
    options = ["--wal-method", "fetch", "--checkpoint", "fast", "--manifest-checksums", "SHA256"]
    for attempt in range(TRIES_MAX):  # other tests drop their databases meanwhile: a copy may be broken off
        copy = tmp_path / f"copy-{attempt}"
        command = [str(client_programs() / "pg_basebackup"), "--pgdata", str(copy), *options]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            break
    assert done.returncode == 0, done.stderr
    files = json.loads((copy / "backup_manifest").read_text())["Files"]
    assert len(files) > 500
    for file in files:
        assert sha256_of(copy / file["Path"]) == file["Checksum"], file["Path"]
