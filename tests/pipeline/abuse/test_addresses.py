"""An address is a key and a sealed text; only the owner of the secret reads it."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_api.limits.sources import Sources
from pipeline.abuse.addresses import AddressKeys, NotAnAddress, counted, network_of, text_of
from pipeline.topology.file import Sources as Configured

KEYS = AddressKeys(b"a secret")


@given(st.ip_addresses())
def test_what_is_sealed_is_read_by_its_owner_only(address: IPv4Address | IPv6Address) -> None:
    for part in (counted(address), network_of(counted(address))):
        key, sealed = KEYS.key(part), KEYS.seal(part)
        assert KEYS.unseal(key, sealed) == text_of(part)
        assert AddressKeys(b"another").unseal(key, sealed) is None


@given(st.ip_addresses())
def test_operators_and_the_edge_mean_the_same(address: IPv4Address | IPv6Address) -> None:
    source = Sources(Configured(), b"a secret").of_host(str(address))
    assert KEYS.subject_of(str(address))[0] == f"address:{source.key}" or address.version == 6
    assert KEYS.subject_of(text_of(source.part))[0] == f"address:{source.key}"


@pytest.mark.parametrize(
    ("written", "kind", "shown"),
    [
        ("198.51.100.7", "address", "198.51.100.7"),
        ("198.51.100.0/24", "network", "198.51.100.0/24"),
        ("2001:db8:1:2:3:4:5:6", "address", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::/64", "address", "2001:db8:1:2::/64"),
        ("2001:db8:1::/48", "network", "2001:db8:1::/48"),
        ("::ffff:198.51.100.7", "address", "198.51.100.7"),
    ],
)
def test_addresses_as_people_write_them(written: str, kind: str, shown: str) -> None:
    named, sealed = KEYS.subject_of(written)
    assert named.partition(":")[0] == kind
    assert KEYS.unseal(named.partition(":")[2], sealed) == shown


@pytest.mark.parametrize("written", ["", "a", "198.51.100.0/23", "10.0.0.0/8", "2001:db8::/32", "::1/127"])
def test_anything_else_is_refused(written: str) -> None:
    with pytest.raises(NotAnAddress):
        KEYS.subject_of(written)


def test_a_v4_address_in_v6_is_that_v4_address() -> None:
    assert counted(ip_address("::ffff:198.51.100.7")) == ip_address("198.51.100.7").packed
