"""The process of the tenant API: wiring and server."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import logging
import os
import secrets
import signal
import time
import urllib.request
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from starlette.applications import Starlette

from ingest_api.http.lifecycle import Lifecycle
from ingest_api.http.sockets import listening
from ingest_api.limits.connections import Connections, descriptors
from ingest_api.reference.loader import ReferenceData
from ingest_api.server import BACKLOG, make_server, sources_of
from ingest_api.tenants.access.api_keys import ApiKeys
from ingest_api.tenants.access.authenticate import Authenticate
from ingest_api.tenants.access.hashing import Hashing
from ingest_api.tenants.access.signing_keys import Load, SigningKeys
from ingest_api.tenants.api.serve import Parts
from ingest_api.tenants.app import build
from ingest_api.tenants.pool.database import Database
from ingest_api.tenants.pool.shares import Shares
from pipeline.errors import CannotStart
from pipeline.runtime.reference_data import ReferenceDataFollower
from pipeline.runtime.repeated_logs import suppress_repeats
from pipeline.runtime.settings import DEVELOPMENT_JWKS, DEVELOPMENT_JWT_SECRET, Settings
from pipeline.topology.loader import load
from pipeline.topology.model import Topology
from schemas.codec import codec
from sinks.postgres.isolation.apply import NotIsolated
from sinks.postgres.isolation.login import tenants_url

log = logging.getLogger(__name__)

KEY_SET_BYTES_MAX = 1_048_576
CHECK_EVERY_S = 1.0
DEVELOPMENT_KEY_ID = "development"


def main(settings: Settings, env: Mapping[str, str] = os.environ) -> int | None:
    """Serve until SIGTERM or SIGINT; then answer the requests in flight and return within 8 s."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    suppress_repeats()
    topology = load(settings.topology_file, settings.topic_namespace)
    address = urlsplit(settings.tenants_url)
    sockets = listening(address.hostname, address.port or 80, BACKLOG)
    connections = Connections(topology.edge.connections, sources_of(settings, topology), descriptors())
    running = make(settings, topology)
    server = make_server(running.app, connections, Lifecycle())
    running.stop_with(lambda: setattr(server, "should_exit", True))
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, lambda *_: setattr(server, "should_exit", True))
    server.run(sockets)
    if running.broken is not None:
        raise running.broken
    return 0 if server.started else 1


class Running:
    """The process's parts, and why it is not ready."""

    def __init__(self, settings: Settings, topology: Topology) -> None:
        bootstrap = settings.kafka_bootstrap_servers
        keys = ApiKeys()
        self._reference_data = ReferenceData(
            {
                "tokens": lambda: ReferenceDataFollower(
                    bootstrap, topology.topic("tokens"), codec("token"), keys.on_event
                )
            },
            reached=lambda: True,
        )
        self._database = Database(tenants_url(settings), topology.tenants.pool)
        self._hashing = Hashing(topology.tenants.users.hashing)
        self._unavailable: str | None = "the database was not reached yet"
        self._stop: Callable[[], None] = lambda: None
        self.broken: NotIsolated | None = None
        parts = Parts(
            Authenticate(
                signing_keys(settings, topology),
                keys,
                time.time,
                lambda: self._reference_data.problems,
                issuer=settings.jwt_issuer,
            ),
            self._database,
            Shares(topology.tenants.pool.of_tenant_max),
            topology,
            settings.contact_key,
            lambda: int(time.time() * 1000),
            secrets.token_urlsafe,
            self._hashing,
        )
        self.app = build(parts, self.not_ready, self._lifespan)

    def stop_with(self, stop: Callable[[], None]) -> None:
        """`stop` ends the server where its role could pass by the policies."""
        self._stop = stop

    def not_ready(self) -> tuple[str, ...]:
        """The reasons why requests cannot be answered now."""
        found = self._reference_data.problems
        return found if self._unavailable is None else (*found, self._unavailable)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        self._reference_data.start()
        self._database.start()
        checking = asyncio.create_task(self._check())
        yield
        checking.cancel()
        self._reference_data.stop()
        self._database.close()
        self._hashing.close()

    async def _check(self) -> None:
        while True:
            try:
                self._unavailable = await asyncio.to_thread(self._database.check)
            except NotIsolated as error:
                self._unavailable, self.broken = error.message, error
                self._stop()
                return
            except Exception:
                log.exception("the check of the database failed; retrying in %g s", CHECK_EVERY_S)
                self._unavailable = "the database cannot be checked"
            await asyncio.sleep(CHECK_EVERY_S)


def make(settings: Settings, topology: Topology) -> Running:
    """Wire the process; no server is contacted yet."""
    return Running(settings, topology)


def signing_keys(settings: Settings, topology: Topology) -> SigningKeys | None:
    """The keys of QUIZSTREAM_JWKS; the public one of development only where it is asked for, on loopback.

    Raises `CannotStart` where it is asked for on another address.
    """
    limits = topology.tenants.signing_keys
    development = settings.jwks == DEVELOPMENT_JWKS
    if not settings.jwks:
        log.warning("signed tokens are rejected: QUIZSTREAM_JWKS is not set; API keys are accepted")
        return None
    if development and not _is_loopback(settings.tenants_url):
        raise CannotStart(
            f"QUIZSTREAM_JWKS={DEVELOPMENT_JWKS} accepts tokens that anyone can sign, and the tenant API "
            "is not on loopback: set it to the key set of your identity provider."
        )
    if development:
        log.warning(
            "QUIZSTREAM_JWKS=%s: tokens signed with a public key are accepted, also those of the platform: "
            "for development only",
            DEVELOPMENT_JWKS,
        )
    load_set: Load = _development_set if development else partial(_read, settings.jwks, limits.timeout_s)
    return SigningKeys(
        load_set,
        time.monotonic,
        refresh_s=limits.refresh_s,
        unknown_refresh_s=limits.unknown_refresh_s,
        development=development,
    )


async def _read(place: str, timeout_s: float) -> str:
    """Of a file, or of an address that the operator has set."""
    if place.startswith(("https://", "http://")):
        return await asyncio.wait_for(asyncio.to_thread(_fetch, place, timeout_s), timeout_s + 1)
    return await asyncio.to_thread(lambda: Path(place).read_text(encoding="utf-8"))


def _fetch(url: str, timeout_s: float) -> str:
    with urllib.request.urlopen(url, timeout=timeout_s) as answer:
        text: bytes = answer.read(KEY_SET_BYTES_MAX)
        return text.decode()


async def _development_set() -> str:
    secret = urlsafe_b64encode(DEVELOPMENT_JWT_SECRET.encode()).rstrip(b"=").decode()
    return json.dumps({"keys": [{"kty": "oct", "kid": DEVELOPMENT_KEY_ID, "alg": "HS256", "k": secret}]})


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
