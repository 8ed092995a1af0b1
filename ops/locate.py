"""Locates the deployment of a command: its settings and topology, from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from ops.embedded.home import Home
from ops.simulated_instances import env_of
from pipeline.runtime.settings import Settings
from pipeline.topology import loader
from pipeline.topology.model import Topology


@dataclass(frozen=True, slots=True)
class Deployment:
    settings: Settings
    topology: Topology


def find(env: Mapping[str, str] | None = None) -> Deployment:
    """Return the deployment; without DATABASE_URL it is the home's database, whose password is in the home.

    Raises TopologyError.
    """
    env = os.environ if env is None else env
    settings = Settings.from_env(env)
    if not env.get("DATABASE_URL"):
        # A home that was never started has no such file; commands that need the database then report it.
        with suppress(OSError):
            url = Home(settings.home).database_url_file.read_text().strip()
            settings = replace(settings, database_url=url)
    return Deployment(settings, loader.load(settings.topology_file, settings.topic_namespace))


def as_env(settings: Settings) -> dict[str, str]:
    """Return the variables from which `Settings.from_env` restores these settings in another process."""
    return {
        "QUIZSTREAM_HOME": str(settings.home),
        "QUIZSTREAM_PORT_BASE": str(settings.port_base),
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "QUIZSTREAM_EDGE_URL": settings.edge_url,
        "QUIZSTREAM_SIMULATOR_URL": settings.simulator_url,
        "QUIZSTREAM_TOPOLOGY": str(settings.topology_file),
        "QUIZSTREAM_NAMESPACE": settings.topic_namespace,
        "QUIZSTREAM_REPLICATION_FACTOR": str(settings.replication_factor),
        "QUIZSTREAM_CONTACT_KEY": settings.contact_key.decode(),
        "WHATSAPP_APP_SECRET": settings.webhook_secret.decode(),
        "WHATSAPP_VERIFY_TOKEN": settings.webhook_verify_token,
        "QUIZSTREAM_SERVICE_TOKEN": settings.service_token,
        "WHATSAPP_ACCESS_TOKEN": settings.access_token,
        "QUIZSTREAM_REGION": settings.region,
        "QUIZSTREAM_TENANTS_URL": settings.tenants_url,
        "QUIZSTREAM_TENANTS_DATABASE_URL": settings.tenants_database_url,
        "QUIZSTREAM_JWKS": settings.jwks,
        "QUIZSTREAM_JWT_ISSUER": settings.jwt_issuer,
        **{name: os.environ.get(name, value) for name, value in env_of(settings).items()},
    }
