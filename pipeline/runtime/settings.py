"""Settings that differ between two deployments of the same code: URLs, ports, secrets.

All other settings are in `topology.yaml`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import CannotStart
from pipeline.runtime.ports import LOOPBACK, Ports

BROKERS_CHOICES = (1, 3)  # of an embedded stack: two would stop at the loss of either

# Public, since they are in this file: only for the embedded stack on loopback.
DEVELOPMENT_CONTACT_KEY = "quizstream-development-contact-key"
DEVELOPMENT_WEBHOOK_SECRET = "quizstream-development-webhook-secret"
DEVELOPMENT_SERVICE_TOKEN = "quizstream-development-service-token"
DEVELOPMENT_JWT_SECRET = "quizstream-development-jwt-secret-of-this-file"
DEVELOPMENT_ACCESS_TOKEN = "quizstream-development-access-token"
DEVELOPMENT_JWKS = "development"  # of QUIZSTREAM_JWKS: accept tokens that DEVELOPMENT_JWT_SECRET signs


@dataclass(frozen=True)
class Settings:
    """Read once, at a process's start, from its environment. Secrets are kept out of `repr`."""

    home: Path
    port_base: int
    kafka_bootstrap_servers: str
    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    edge_url: str
    simulator_url: str
    topology_file: Path
    topic_namespace: str  # prefix of every topic and group: two deployments may share a cluster
    replication_factor: int
    contact_key: bytes = field(repr=False)  # of the keyed hash that makes contact ids
    webhook_secret: bytes = field(repr=False)  # of the provider's signature
    webhook_verify_token: str = field(repr=False)
    service_token: str = field(repr=False)  # of replay and benches
    access_token: str = field(repr=False)  # of the demo sending numbers
    region: str
    tenants_url: str = ""  # of the tenant API
    tenants_database_url: str = field(default="", repr=False)  # empty: sinks.postgres.isolation.login
    jwks: str = ""  # file or address of the keys of signed tokens, or DEVELOPMENT_JWKS
    jwt_issuer: str = ""  # `iss` of signed tokens; empty: any

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Settings:
        """Defaults run the embedded stack of `QUIZSTREAM_HOME` on `QUIZSTREAM_PORT_BASE`.

        Raises CannotStart for a value that is not a usable number.
        """
        ports = Ports.from_env(env)
        home = Path(env.get("QUIZSTREAM_HOME", ".quizstream")).absolute()
        brokers = 1 if "KAFKA_BOOTSTRAP_SERVERS" in env else _embedded_brokers(home)
        embedded_brokers = ",".join(
            f"{LOOPBACK}:{ports.broker(node_id).clients}" for node_id in range(1, brokers + 1)
        )
        return cls(
            home=home,
            port_base=ports.base,
            kafka_bootstrap_servers=env.get("KAFKA_BOOTSTRAP_SERVERS", embedded_brokers),
            database_url=env.get("DATABASE_URL") or _embedded_database_url(home, ports),
            redis_url=env.get("REDIS_URL", f"redis://{LOOPBACK}:{ports.valkey}/0"),
            edge_url=env.get("QUIZSTREAM_EDGE_URL", f"http://{LOOPBACK}:{ports.edge}"),
            simulator_url=env.get("QUIZSTREAM_SIMULATOR_URL", f"http://{LOOPBACK}:{ports.simulator}"),
            topology_file=Path(
                env.get("QUIZSTREAM_TOPOLOGY", Path(__file__).resolve().parents[2] / "topology.yaml")
            ),
            topic_namespace=env.get("QUIZSTREAM_NAMESPACE", ""),
            replication_factor=_positive(env, "QUIZSTREAM_REPLICATION_FACTOR", brokers),
            contact_key=env.get("QUIZSTREAM_CONTACT_KEY", DEVELOPMENT_CONTACT_KEY).encode(),
            webhook_secret=env.get("WHATSAPP_APP_SECRET", DEVELOPMENT_WEBHOOK_SECRET).encode(),
            webhook_verify_token=env.get("WHATSAPP_VERIFY_TOKEN", DEVELOPMENT_WEBHOOK_SECRET),
            service_token=env.get("QUIZSTREAM_SERVICE_TOKEN", DEVELOPMENT_SERVICE_TOKEN),
            access_token=env.get("WHATSAPP_ACCESS_TOKEN", DEVELOPMENT_ACCESS_TOKEN),
            region=env.get("QUIZSTREAM_REGION", ""),
            tenants_url=env.get("QUIZSTREAM_TENANTS_URL", f"http://{LOOPBACK}:{ports.tenants}"),
            tenants_database_url=env.get("QUIZSTREAM_TENANTS_DATABASE_URL", ""),
            jwks=env.get("QUIZSTREAM_JWKS", ""),
            jwt_issuer=env.get("QUIZSTREAM_JWT_ISSUER", ""),
        )

    @property
    def simulator_smtp_url(self) -> str:
        return f"smtp://{LOOPBACK}:{self.ports.simulator_smtp}"

    @property
    def ports(self) -> Ports:
        return Ports.from_base(self.port_base)


def _positive(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name, "").strip()
    if not text:
        return default
    if not text.isdecimal() or int(text) < 1:
        raise CannotStart(f"{name} is {text!r}: it must be a number from 1.")
    return int(text)


def _embedded_database_url(home: Path, ports: Ports) -> str:
    """The URL, with its password, that the embedded PostgreSQL writes to its home at each start."""
    try:
        return (home / "database.url").read_text().strip()
    except OSError:
        return f"postgresql://quizstream@{LOOPBACK}:{ports.postgres}/quizstream"


def _embedded_brokers(home: Path) -> int:
    """The number of brokers of the embedded stack of this home, from the file that its first start writes."""
    try:
        brokers = int((home / "kafka.brokers").read_text())
    except (OSError, ValueError):
        return 1
    return brokers if brokers in BROKERS_CHOICES else 1
