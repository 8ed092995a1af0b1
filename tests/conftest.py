"""Fixtures that every test may use: the shared servers, and a corner of them for one test alone."""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from psycopg import sql

from ops.embedded.stack import ServerUrls
from pipeline.errors import CannotStart
from sinks.postgres.isolation.catalogue import RULES
from sinks.postgres.schema.migrate import migrate, migrations
from tests.support.shared_stack import shared_stack, wait_until_gone

# A slow machine is no failure.
settings.register_profile("quizstream", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("quizstream")


RUN_ENV = "QUIZSTREAM_TEST_RUN"  # names the run for its workers, which inherit it
_begun_here = pytest.StashKey[str]()


# Brokers of a test live for seconds: the second compiler of Java costs them more than it saves.
QUICK_JAVA = {"JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1"}


def pytest_configure(config: pytest.Config) -> None:
    for name, value in QUICK_JAVA.items():
        os.environ.setdefault(name, value)
    # Some hundred processes of a run import the same modules: where bytecode may not be kept, each of them
    # compiles them again, which is more than half of what its start costs.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    if RUN_ENV not in os.environ:
        os.environ[RUN_ENV] = config.stash[_begun_here] = secrets.token_hex(6)


def pytest_unconfigure(config: pytest.Config) -> None:
    """The run is over only when its servers are gone: whoever looks then finds no process left."""
    run = config.stash.get(_begun_here, None)
    if run is not None:
        del os.environ[RUN_ENV]
        wait_until_gone(_run_folder(run))


def _run_folder(run: str) -> Path:
    return Path(tempfile.gettempdir()) / f"quizstream-tests-{os.getuid()}-{run}"


@pytest.fixture(scope="session")
def stack() -> Iterator[ServerUrls]:
    """Kafka, PostgreSQL and Valkey for this test run, shared between its workers.

    Where they cannot start, the test is skipped on a laptop and fails in CI.
    """
    folder = _run_folder(os.environ[RUN_ENV])
    try:
        with shared_stack(folder) as urls:
            yield urls
    except CannotStart as error:
        if os.environ.get("CI"):
            pytest.fail(error.message)
        pytest.skip(error.message)


@pytest.fixture
def namespace() -> str:
    """A prefix for topics and groups that no other test has, such as `t3f9a1c02.`."""
    return f"t{secrets.token_hex(4)}."


@pytest.fixture(scope="session")
def migrated_template(stack: ServerUrls) -> str:
    """The name of a database with every migration, made once a run and for the files as they are now."""
    content = "".join(migration.checksum for migration in migrations()) + repr(RULES)
    name = f"quizstream_template_{hashlib.sha256(content.encode()).hexdigest()[:12]}"
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        # One worker makes it, the others wait; renamed when complete, so that a kill leaves no half of it.
        connection.execute("SELECT pg_advisory_lock(hashtext(%s))", [name])
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
            unfinished = f"{name}_{secrets.token_hex(4)}"
            migrate(_sibling(stack.database_url, unfinished))
            connection.execute(
                sql.SQL("ALTER DATABASE {} RENAME TO {}").format(
                    sql.Identifier(unfinished), sql.Identifier(name)
                )
            )
    return name


@pytest.fixture
def database_url(stack: ServerUrls, migrated_template: str) -> Iterator[str]:
    """The URL of a migrated database of this test's own; dropped afterwards."""
    with own_database(stack, migrated_template) as url:
        yield url


@pytest.fixture
def empty_database_url(stack: ServerUrls) -> Iterator[str]:
    """The URL of a database of this test's own with nothing in it; dropped afterwards."""
    with own_database(stack, "template0") as url:
        yield url


@contextmanager
def own_database(stack: ServerUrls, template: str) -> Iterator[str]:
    """The URL of a new database; dropped afterwards."""
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        # Copied as files it takes half the CPU of a copy through the log: 25 instead of 55 ms.
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
        yield _sibling(stack.database_url, name)
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _sibling(database_url: str, name: str) -> str:
    return database_url.rpartition("/")[0] + f"/{name}"
