"""What of a load balancer differs between two deployments: addresses, certificates, networks, folders.

Limits and time-outs are the same everywhere: `balancer` in `topology.yaml`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

from pipeline.errors import OperatorError

WEIGHT_MAX = 1000
SERVERS_MAX = 256

# What may be in the file without quotes. A host: a name, an IPv4 address, or an IPv6 address in brackets.
_SERVER = re.compile(
    r"((?:[A-Za-z0-9][A-Za-z0-9.-]{0,252})|(?:\[[0-9A-Fa-f:.]{2,45}\])):(\d{1,5})(?:=(\d{1,4}))?"
)
_ADDRESS = re.compile(r"[0-9.]{7,15}|\[[0-9A-Fa-f:.]{2,45}\]")
_NAME = re.compile(r"(?:\*\.)?[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_PATH = re.compile(r"/[A-Za-z0-9._/@+-]+")


class InvalidPlace(OperatorError):
    """An address, name or path cannot be used in the configuration."""


@dataclass(frozen=True)
class Server:
    """An edge, and its share of the requests relative to the other weights."""

    address: str
    weight: int = 1


@dataclass(frozen=True)
class Tls:
    port: int
    certificate: Path
    key: Path


@dataclass(frozen=True)
class Place:
    """Where it listens, and for whom.

    - `before`: networks of balancers before this one, which name the client.
    - `internal`: networks that may read metrics, health and schemas.
    """

    servers: tuple[Server, ...]
    port: int
    addresses: tuple[str, ...] = ("0.0.0.0", "[::]")
    tls: Tls | None = None
    names: tuple[str, ...] = ()
    proxy_protocol: bool = False
    before: tuple[str, ...] = ()
    internal: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    folder: Path = Path("/run/quizstream")
    access_log: Path = Path("/var/log/nginx/quizstream.log")

    def __post_init__(self) -> None:
        """Raises InvalidPlace."""
        if not 1 <= len(self.servers) <= SERVERS_MAX:
            raise InvalidPlace(f"{len(self.servers)} edges are given: 1 to {SERVERS_MAX} are supported.")
        ports = [self.port, *([self.tls.port] if self.tls else [])]
        for port in ports:
            if not 1 <= port <= 65_535:
                raise InvalidPlace(f"{port} is not a port: choose a number from 1 to 65535.")
        if len(set(ports)) < len(ports):
            raise InvalidPlace(f"port {self.port} is given for HTTP and for TLS: choose two.")
        for address in self.addresses:
            if not _ADDRESS.fullmatch(address):
                raise InvalidPlace(f"{address!r} is not an address to listen on, such as 0.0.0.0 or [::].")
        for name in self.names:
            if not _NAME.fullmatch(name):
                raise InvalidPlace(f"{name!r} is not a host name.")
        paths = [self.folder, self.access_log]
        paths += [self.tls.certificate, self.tls.key] if self.tls else []
        for path in paths:
            if not _PATH.fullmatch(str(path)):
                raise InvalidPlace(f"{str(path)!r} is not an absolute path of plain characters.")
        for network in (*self.before, *self.internal):
            try:
                ip_network(network)
            except ValueError as error:
                raise InvalidPlace(f"{error}: use an address or a network in CIDR notation.") from None


def servers(texts: Sequence[str]) -> tuple[Server, ...]:
    """Read `host:port` or `host:port=weight`. Raises InvalidPlace."""
    return tuple(_server(text) for text in texts)


def _server(text: str) -> Server:
    found = _SERVER.fullmatch(text)
    if found is None:
        raise InvalidPlace(f"{text!r} is not an edge: use HOST:PORT or HOST:PORT=WEIGHT.")
    host, port, weight = found[1], int(found[2]), int(found[3] or 1)
    if not 1 <= port <= 65_535 or not 1 <= weight <= WEIGHT_MAX:
        raise InvalidPlace(f"{text!r}: ports go to 65535, weights from 1 to {WEIGHT_MAX}.")
    return Server(f"{host}:{port}", weight)
