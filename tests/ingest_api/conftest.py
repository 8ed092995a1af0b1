"""One edge for all tests that do not need their own."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from ops.embedded.stack import ServerUrls
from tests.support.edge import Edge, prepare, running, settings_for, wait_ready


@pytest.fixture(scope="session")
def edge(stack: ServerUrls) -> Iterator[Edge]:
    settings = settings_for(stack.kafka_bootstrap, f"t{secrets.token_hex(4)}.")
    topology = prepare(settings)
    with running(settings, topology) as one:
        wait_ready(one)
        yield one
