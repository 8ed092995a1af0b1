"""Fixtures that every test may use: the shared servers, and a corner of them for one test alone."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from ops.embedded.cannot_start import CannotStart
from ops.embedded.stack import ServerUrls
from tests.shared_stack import shared_stack


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest) -> Iterator[ServerUrls]:
    """Kafka, PostgreSQL and Valkey for this test run, shared between its workers.

    Where they cannot start, the test is skipped on a laptop and fails in CI.
    """
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", f"alone-{os.getpid()}")
    folder = Path(tempfile.gettempdir()) / f"quizstream-tests-{os.getuid()}-{run[:16]}"
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


@pytest.fixture
def database_url(stack: ServerUrls) -> Iterator[str]:
    """The URL of an empty database of this test's own; dropped afterwards."""
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield stack.database_url.rpartition("/")[0] + f"/{name}"
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
