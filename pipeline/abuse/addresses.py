"""Keys of client addresses, and addresses sealed so that only the owner of the contact key can read them.

An address is personal data, and Valkey may write what it holds to a disk.
"""

from __future__ import annotations

import hashlib
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from pipeline.abuse.states import Kind, subject
from pipeline.errors import OperatorError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

IPV6_CLIENT_BYTES = 8  # a /64: what one customer has
# Of what is counted, the bytes that name its network: a /24 of IPv4, a /48 of IPv6.
NETWORK_BYTES = {4: 3, IPV6_CLIENT_BYTES: 6}
_PREFIX_BITS = {4: 32, IPV6_CLIENT_BYTES: 64, 3: 24, 6: 48}


class NotAnAddress(OperatorError):
    """The message has what was given, and what is expected."""


def counted(address: Address) -> bytes:
    """Return the part of the address that is counted: all of IPv4, the /64 of IPv6."""
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address
    return address.packed[:IPV6_CLIENT_BYTES]


def network_of(client: bytes) -> bytes:
    return client[: NETWORK_BYTES[len(client)]]


class AddressKeys:
    def __init__(self, secret: bytes) -> None:
        self._secret = hashlib.sha256(secret).digest()

    def key(self, part: bytes) -> str:
        """Return the key of an address or a network: a keyed hash."""
        return hashlib.blake2b(part, digest_size=8, key=self._secret).hexdigest()

    def seal(self, part: bytes) -> str:
        """The stream of bytes depends on the key of what it hides, so that no two addresses share one."""
        return bytes(a ^ b for a, b in zip(part, self._stream(self.key(part)), strict=False)).hex()

    def unseal(self, key: str, sealed: str) -> str | None:
        """Return the address or network as text; None if it was sealed with another secret."""
        hidden = bytes.fromhex(sealed)
        part = bytes(a ^ b for a, b in zip(hidden, self._stream(key), strict=False))
        if len(part) not in _PREFIX_BITS or self.key(part) != key:
            return None
        return text_of(part)

    def subject_of(self, text: str) -> tuple[str, str]:
        """Return the subject and the sealed form of an address or network as a person writes it.

        Raises NotAnAddress: only what the edge judges is one: an address, a /24, a /64 or a /48.
        """
        try:
            network = ip_network(text, strict=False)
        except ValueError:
            raise NotAnAddress(f"{text!r} is neither an address nor a network") from None
        kind, part = _part(network)
        return subject(kind, self.key(part)), self.seal(part)

    def _stream(self, key: str) -> bytes:
        return hashlib.blake2b(
            key.encode(), digest_size=IPV6_CLIENT_BYTES, key=self._secret, person=b"sealed"
        ).digest()


def text_of(part: bytes) -> str:
    bits = _PREFIX_BITS[len(part)]
    if len(part) in (3, 4):
        network: Network = IPv4Network((part.ljust(4, b"\0"), bits))
    else:
        network = IPv6Network((part.ljust(16, b"\0"), bits))
    return str(network.network_address) if bits == 32 else str(network)


def _part(network: Network) -> tuple[Kind, bytes]:
    packed, bits = network.network_address.packed, network.prefixlen
    if network.version == 4:
        if bits == 32:
            return Kind.ADDRESS, packed
        if bits == 24:
            return Kind.NETWORK, packed[:3]
        raise NotAnAddress(f"{network}: give an address, or its /24")
    if bits in (64, 128):
        return Kind.ADDRESS, counted(network.network_address)
    if bits == 48:
        return Kind.NETWORK, packed[:6]
    raise NotAnAddress(f"{network}: give an address, its /64 or its /48")
