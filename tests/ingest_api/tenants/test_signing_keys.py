"""The public key of development signs only where it is asked for."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from ingest_api.tenants.server import DEVELOPMENT_KEY_ID, signing_keys
from ops.deployment.up import with_development_key
from pipeline.errors import CannotStart
from pipeline.runtime.settings import Settings
from tests.support.sinks import topology_of


def settings(tmp_path: Path, **env: str) -> Settings:
    return Settings.from_env({"QUIZSTREAM_HOME": str(tmp_path), **env})


def test_without_a_key_set_no_signed_token_is_accepted(tmp_path: Path) -> None:
    """Also on loopback, where a proxy may stand before the process."""
    assert signing_keys(settings(tmp_path), topology_of("")) is None


def test_the_development_key_is_accepted_where_it_is_asked_for_and_said_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        keys = signing_keys(settings(tmp_path, QUIZSTREAM_JWKS="development"), topology_of(""))
    assert keys is not None
    assert asyncio.run(keys.find(DEVELOPMENT_KEY_ID)) is not None
    assert "public key" in caplog.text


def test_the_development_key_is_never_accepted_beyond_loopback(tmp_path: Path) -> None:
    env = {"QUIZSTREAM_JWKS": "development", "QUIZSTREAM_TENANTS_URL": "http://10.0.0.7:8602"}
    with pytest.raises(CannotStart, match="loopback"):
        signing_keys(settings(tmp_path, **env), topology_of(""))


@pytest.mark.parametrize(
    "env",
    [
        {"DATABASE_URL": "postgresql://db.example/quizstream"},
        {"KAFKA_BOOTSTRAP_SERVERS": "kafka.example:9092"},
        {"REDIS_URL": "redis://valkey.example"},
        {"QUIZSTREAM_CONTACT_KEY": "a key of its own"},
        {"QUIZSTREAM_JWKS": "keys.json"},
    ],
    ids=lambda env: next(iter(env)),
)
def test_a_demo_accepts_it_on_servers_of_its_own_alone(tmp_path: Path, env: dict[str, str]) -> None:
    assert with_development_key(settings(tmp_path), {}).jwks == "development"
    given = settings(tmp_path, **env)
    assert with_development_key(given, env).jwks == given.jwks
