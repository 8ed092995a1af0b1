"""Which client a request or a connection comes from, as the limits count it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

from pipeline.abuse.addresses import Address, AddressKeys, Network, counted
from pipeline.topology.file import Sources as Configured

ADDRESSES_KEPT_MAX = 65_536
FORWARDED_HOPS_MAX = 16  # more are not read: longer than any chain of proxies


@dataclass(frozen=True, slots=True)
class Source:
    """`key` is a keyed hash: an address is personal data, and Valkey may write its keys to a disk.

    `part`: what of the address is counted; empty where it is unknown.
    """

    key: str
    trusted: bool = False
    proxy: bool = False
    part: bytes = field(default=b"", repr=False)

    @property
    def judged(self) -> bool:
        """Whether it is one client, as far as can be known: others are never blocked."""
        return not (self.trusted or self.proxy) and self.part != b""


UNKNOWN = Source("unknown")


class Sources:
    """Reads client addresses. Only a configured proxy is believed when it names another address."""

    def __init__(self, configured: Configured, hash_key: bytes) -> None:
        self._trusted = _networks(configured.trusted)
        self._proxies = _networks(configured.proxies)
        # A client writes the header that its proxy leaves alone: only one of the two may count.
        self._hops = _HOPS[configured.header]
        self.keys = AddressKeys(hash_key)
        self.of_host = lru_cache(ADDRESSES_KEPT_MAX)(self._of_host)

    def of_request(self, client: Sequence[object] | None, headers: Mapping[bytes, bytes]) -> Source:
        """Return the nearest address that is not a proxy's."""
        if client is None:
            return UNKNOWN
        source = self.of_host(str(client[0]))
        if not source.proxy:
            return source
        for host in reversed(self._hops(headers)[-FORWARDED_HOPS_MAX:]):
            source = self.of_host(host)
            if not source.proxy:
                return source
        return source

    def _of_host(self, host: str) -> Source:
        try:
            address = ip_address(host.partition("%")[0])
        except ValueError:
            return UNKNOWN
        if isinstance(address, IPv6Address):
            address = address.ipv4_mapped or address
        part = counted(address)
        return Source(
            self.keys.key(part),
            trusted=_in(address, self._trusted),
            proxy=_in(address, self._proxies),
            part=part,
        )


def _networks(texts: Sequence[str]) -> tuple[Network, ...]:
    return tuple(ip_network(text) for text in texts)


def _in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _x_forwarded_for(headers: Mapping[bytes, bytes]) -> list[str]:
    """Return the addresses that the header names, the nearest last."""
    listed = headers.get(b"x-forwarded-for")
    return [] if listed is None else [_host(hop) for hop in listed.decode("latin-1").split(",")]


def _forwarded(headers: Mapping[bytes, bytes]) -> list[str]:
    """Return the addresses that the header names (RFC 7239), the nearest last."""
    hops = headers.get(b"forwarded", b"").decode("latin-1").split(",")
    return [
        _host(value)
        for hop in hops
        for name, _, value in (pair.partition("=") for pair in hop.split(";"))
        if name.strip().lower() == "for"
    ]


def _host(text: str) -> str:
    """Return the address without quotes, brackets and port."""
    text = text.strip().strip('"')
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


_HOPS = {"x-forwarded-for": _x_forwarded_for, "forwarded": _forwarded}
