"""One tenant API for all tests of the folder."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace

import pytest

from ops.embedded.stack import ServerUrls
from tests.conftest import own_database
from tests.support.edge import prepare, settings_for
from tests.support.tenant_api import TenantApi, running


@pytest.fixture(scope="session")
def api(stack: ServerUrls, migrated_template: str) -> Iterator[TenantApi]:
    settings = settings_for(stack.kafka_bootstrap, f"t{secrets.token_hex(4)}.")
    topology = prepare(settings)
    with (
        own_database(stack, migrated_template) as database_url,
        running(replace(settings, database_url=database_url), topology) as one,
    ):
        yield one
