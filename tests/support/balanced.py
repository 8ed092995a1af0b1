"""nginx with the generated configuration, before two edges, and a client that talks to it."""

from __future__ import annotations

import dataclasses
import http.client
import json
import secrets
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.balancer.nginx import render
from ops.balancer.place import Place
from pipeline.topology.model import Topology
from tests.support import nginx
from tests.support.edge import Edge

ADDRESS_LIMIT = 5
CLIENT = "127.0.0.7"
BODY = b'{"answers": {}}'


@dataclass(frozen=True)
class Balanced:
    """nginx: HTTP at `port`, TLS at `tls_port`, PROXY protocol at `proxied_port`; behind it `edges`."""

    port: int
    tls_port: int
    proxied_port: int
    edges: tuple[Edge, Edge]
    certificate: Path
    log: Path

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def statuses(self, before: int) -> dict[str, str]:
        """Of each route in the lines after the first `before`."""
        return {line["route"]: line["status"] for line in self.lines()[before:]}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


def ask(
    port: int,
    path: str,
    *,
    source: str = CLIENT,
    method: str = "GET",
    body: bytes | None = None,
    tls: ssl.SSLContext | None = None,
    **headers: Any,
) -> Answer:
    host = "localhost" if tls else "127.0.0.1"
    kind: Any = http.client.HTTPConnection if tls is None else http.client.HTTPSConnection
    more = {} if tls is None else {"context": tls}
    connection = kind(host, port, timeout=60, source_address=(source, 0), **more)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found, response.read())
    finally:
        connection.close()


def submit(port: int, source: str = CLIENT, quiz: str = "survey", **headers: Any) -> Answer:
    headers = {"content_type": "application/json", "idempotency_key": secrets.token_hex(16)} | headers
    return ask(port, f"/quiz/{quiz}/completions", method="POST", body=BODY, source=source, **headers)


def talk(port: int, content: bytes, source: str = CLIENT) -> bytes:
    """Everything that comes back until the connection is closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=60, source_address=(source, 0)) as connection:
        received = b""
        try:
            connection.sendall(content)
            while part := connection.recv(65_536):
                received += part
        except ConnectionError:
            pass  # it was refused before all of it was sent
        return received


@contextmanager
def at(folder: Path, topology: Topology, place: Place, name: str) -> Iterator[None]:
    own = folder / name
    own.mkdir()
    file = own / "nginx.conf"
    file.write_text(render(topology, dataclasses.replace(place, folder=own)))
    assert nginx.check(file) == ""
    with nginx.running(file, place.tls.port if place.tls else place.port):
        yield
