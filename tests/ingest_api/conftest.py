"""One edge for all tests that do not need their own."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace

import pytest

from ops.embedded.stack import ServerUrls
from tests.conftest import own_database
from tests.support.edge import Edge, prepare, running, settings_for, store_quizzes, wait_ready


@pytest.fixture(scope="session")
def edge(stack: ServerUrls, migrated_template: str) -> Iterator[Edge]:
    settings = settings_for(stack.kafka_bootstrap, f"t{secrets.token_hex(4)}.")
    topology = prepare(settings)
    with (
        own_database(stack, migrated_template) as database_url,
        running(replace(settings, database_url=database_url), topology) as one,
    ):
        store_quizzes(database_url)
        wait_ready(one)
        yield one
