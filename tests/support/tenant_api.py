"""A running tenant API on real servers, with two tenants, and the publisher of its changes."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import jwt

from ingest_api.http.lifecycle import Lifecycle
from ingest_api.http.sockets import listening
from ingest_api.limits.connections import Connections, descriptors
from ingest_api.server import BACKLOG, make_server, sources_of
from ingest_api.tenants.server import DEVELOPMENT_KEY_ID, make
from pipeline.runtime.backoff import Backoff
from pipeline.runtime.settings import DEVELOPMENT_JWKS, DEVELOPMENT_JWT_SECRET, Settings
from pipeline.topology.model import Topology
from sinks.postgres.catalogue.operations import add_tenant
from sinks.postgres.connect import connect
from sinks.postgres.dead_letter_producer import producer
from sinks.postgres.isolation.login import allow_login, tenants_url
from sinks.postgres.outbox import Publisher
from tests.support.edge import READY_WITHIN_S, Answer, wait_until

TENANTS = ("acme", "umbrella")


@dataclass(frozen=True)
class TenantApi:
    port: int
    settings: Settings
    topology: Topology

    def ask(
        self,
        token: str | None,
        method: str,
        path: str,
        content: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """`content` is sent as JSON unless it is None; `token` as bearer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        given = {} if token is None else {"authorization": f"Bearer {token}"}
        body = None
        if content is not None:
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            given["content-type"] = "application/json"
        try:
            connection.request(method, path, body, {**given, **(headers or {})})
            response = connection.getresponse()
            named = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, named, response.read())
        finally:
            connection.close()


def signed(tenant: str, role: str = "owner", **claims: Any) -> str:
    """A signed token of the development key."""
    now_s = int(time.time())
    content = {
        "sub": f"{role}@{tenant}",
        "aud": "quizstream",
        "iat": now_s,
        "exp": now_s + 3600,
        "jti": f"{tenant}-{role}",
        "tenant": tenant,
        "role": role,
    }
    return jwt.encode(
        content | claims, DEVELOPMENT_JWT_SECRET, algorithm="HS256", headers={"kid": DEVELOPMENT_KEY_ID}
    )


@contextmanager
def running(settings: Settings, topology: Topology) -> Iterator[TenantApi]:
    """The API in a thread of this process, ready; its events are published meanwhile."""
    settings = replace(settings, jwks=settings.jwks or DEVELOPMENT_JWKS)
    allow_login(settings.database_url, tenants_url(settings))
    with connect(settings.database_url, "test") as connection:
        for tenant in TENANTS:
            add_tenant(connection, "test", tenant, tenant.title())
    connections = Connections(topology.edge.connections, sources_of(settings, topology), descriptors())
    made = make(settings, topology)
    server = make_server(made.app, connections, Lifecycle())
    made.stop_with(lambda: setattr(server, "should_exit", True))
    sockets = listening("localhost", 0, BACKLOG)
    threads = [threading.Thread(target=server.run, args=(sockets,))]
    stop = threading.Event()
    publisher = Publisher(
        topology,
        producer(settings.kafka_bootstrap_servers, "test", topology.record_bytes_max),
        lambda: connect(settings.database_url, "publisher"),
        Backoff(),
    )
    threads.append(threading.Thread(target=publisher.run, args=(stop,)))
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: server.started, "the tenant API to listen")
        api = TenantApi(sockets[0].getsockname()[1], settings, topology)
        wait_until(lambda: api.ask(None, "GET", "/health/ready").status == 200, "the tenant API to be ready")
        yield api
    finally:
        server.should_exit = True
        stop.set()
        for thread in threads:
            thread.join(READY_WITHIN_S)
            assert not thread.is_alive()
