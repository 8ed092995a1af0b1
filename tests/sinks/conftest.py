from __future__ import annotations

from collections.abc import Iterator

import pytest

from ops.embedded.stack import ServerUrls
from tests.support.sinks import Corner, topology_of


@pytest.fixture
def corner(stack: ServerUrls, database_url: str, namespace: str) -> Iterator[Corner]:
    """This test's own topics and database on the shared servers."""
    corner = Corner(stack.kafka_bootstrap, database_url, topology_of(namespace))
    yield corner
    corner.close()
