"""Whom a limit counts: the client, which only a configured proxy may name; an IPv6 customer by its /64."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ingest_api.limits.sources import UNKNOWN, Sources
from pipeline.topology.file import Sources as Configured

CONFIGURED = Configured(proxies=("10.0.0.0/8", "fd00::/8"), trusted=("192.0.2.0/24", "127.0.0.0/8"))
SOURCES = Sources(CONFIGURED, b"hash key")
BY_FORWARDED = Sources(replace(CONFIGURED, header="forwarded"), b"hash key")
CLIENT = "198.51.100.7"


def key(host: str) -> str:
    return SOURCES.of_host(host).key


def from_(peer: str, **headers: str) -> str:
    """By the sources that read the given header; X-Forwarded-For where both or none are given."""
    raw = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    sources = BY_FORWARDED if list(headers) == ["forwarded"] else SOURCES
    return sources.of_request((peer, 1234), raw).key


def test_an_ipv6_customer_is_its_64() -> None:
    assert key("2001:db8:1:2::1") == key("2001:db8:1:2:ffff::") != key("2001:db8:1:3::1")
    assert key("::ffff:198.51.100.7") == key(CLIENT) != key("198.51.100.8")
    assert key("fe80::1%eth0") == key("fe80::1")


def test_no_key_shows_an_address_and_another_hash_key_makes_others() -> None:
    other = Sources(Configured(), b"another")
    assert CLIENT not in key(CLIENT)
    assert other.of_host(CLIENT).key != key(CLIENT)


@pytest.mark.parametrize(
    "headers",
    [
        {"x_forwarded_for": CLIENT},
        {"x_forwarded_for": f"203.0.113.99, {CLIENT}"},  # what a client wrote comes first
        {"x_forwarded_for": f"203.0.113.99, {CLIENT}:5678, 10.1.2.3"},
        {"forwarded": f"for={CLIENT};proto=https"},
        {"forwarded": f'For="{CLIENT}:47011", for=10.9.9.9;by=10.1.1.1'},
    ],
)
def test_a_proxy_names_the_client(headers: dict[str, str]) -> None:
    assert from_("10.0.0.1", **headers) == key(CLIENT)
    assert from_("fd00::1", **headers) == key(CLIENT)


def test_an_ipv6_client_is_named_in_both_headers() -> None:
    expected = key("2001:db8::1")
    assert from_("10.0.0.1", forwarded='for="[2001:db8::1]:4711"') == expected
    assert from_("10.0.0.1", x_forwarded_for="2001:db8::1") == expected


def test_a_client_cannot_name_another() -> None:
    assert from_(CLIENT, x_forwarded_for="203.0.113.1", forwarded="for=203.0.113.1") == key(CLIENT)
    assert from_("127.0.0.1", x_forwarded_for="203.0.113.1") == key("127.0.0.1")


def test_the_header_that_the_proxy_does_not_write_is_not_read() -> None:
    """Behind a proxy that writes one of them a client may write the other."""
    both = {b"x-forwarded-for": b"203.0.113.1", b"forwarded": b"for=198.51.100.7"}
    assert BY_FORWARDED.of_request(("10.0.0.1", 1), both).key == key(CLIENT)
    assert SOURCES.of_request(("10.0.0.1", 1), both).key == key("203.0.113.1")
    assert SOURCES.of_request(("10.0.0.1", 1), {b"forwarded": b"for=198.51.100.7"}).key == key("10.0.0.1")


def test_a_proxy_that_names_none_is_counted_itself() -> None:
    assert from_("10.0.0.1") == key("10.0.0.1")
    assert from_("10.0.0.1", x_forwarded_for="unknown") == UNKNOWN.key
    assert from_("10.0.0.1", x_forwarded_for="10.0.0.2") == key("10.0.0.2")


def test_trust_is_of_the_client_and_not_of_its_proxy() -> None:
    assert SOURCES.of_host("192.0.2.200").trusted
    assert not SOURCES.of_request(("10.0.0.1", 1), {b"x-forwarded-for": CLIENT.encode()}).trusted
    assert SOURCES.of_request(("10.0.0.1", 1), {b"x-forwarded-for": b"192.0.2.1"}).trusted


@given(st.text(max_size=60), st.binary(max_size=60))
def test_any_text_is_a_source(host: str, header: bytes) -> None:
    assert SOURCES.of_request((host, 1), {b"x-forwarded-for": header}).key
    assert SOURCES.of_request(("10.0.0.1", 1), {b"x-forwarded-for": header}).key
    assert BY_FORWARDED.of_request(("10.0.0.1", 1), {b"forwarded": header}).key
