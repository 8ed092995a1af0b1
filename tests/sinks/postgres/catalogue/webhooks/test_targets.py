"""Webhooks go to addresses of the public internet, however an address is written."""

from __future__ import annotations

import pytest

from sinks.postgres.catalogue.webhooks.targets import allowed, networks, problem

LOOPBACK = networks(("127.0.0.0/8",))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "2606:4700::1%eth0",
        "fc00::1",
        "ff02::1",
        "2001:db8::1",
        "::ffff:127.0.0.1",
        "::ffff:1.1.1.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001:0:7f00:1::",
        "name.example.com",
        "",
    ],
)
def test_no_connection_leaves_the_public_internet(address: str) -> None:
    assert not allowed(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.215.14", "2606:4700:4700::1111"])
def test_a_public_address_is_allowed(address: str) -> None:
    assert allowed(address)
    assert not allowed(address, LOOPBACK), "in development its networks alone"


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com/quiz?key=1",
        "https://hooks.example.com:8443/",
        "https://1.1.1.1/hook",
        "https://[2606:4700:4700::1111]/hook",
        "https://xn--bcher-kva.example/",
    ],
)
def test_an_https_url_of_the_internet_can_be_saved(url: str) -> None:
    assert problem(url) is None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example.com",
        "http://hooks.example.com/",
        "ftp://hooks.example.com/",
        "https://",
        "https://user:secret@hooks.example.com/",
        "https://hooks.example.com/#part",
        "https://hooks.example.com:0/",
        "https://hooks.example.com:99999/",
        "https://hooks.example.com\\@127.0.0.1/",
        "https://hooks.example.com/a b",
        "https://hooks.example.com/\n",
        "https://hooks.exämple.com/",
        "https://localhost/",
        "https://intranet/",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.0.0.0x1/",
        "https://0177.0.0.1/",
        "https://017700000001/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:7f00:1]/",
        "https://169.254.169.254/latest/meta-data",
        "https://hooks.example.com/" + "a" * 2000,
    ],
)
def test_an_url_of_another_kind_is_rejected(url: str) -> None:
    assert problem(url) is not None


def test_in_development_http_to_the_given_networks_is_possible() -> None:
    assert problem("http://127.0.0.1:9000/", LOOPBACK) is None
    assert problem("http://localhost:9000/", LOOPBACK) is None
    assert problem("http://1.1.1.1/", LOOPBACK) is not None
    assert problem("http://[::ffff:127.0.0.1]/", LOOPBACK) is not None
