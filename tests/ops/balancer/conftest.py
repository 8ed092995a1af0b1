"""One nginx before two edges for all tests of the folder."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from ops.balancer.place import Place, Server, Tls
from ops.embedded.stack import ServerUrls
from pipeline.topology.file import Sources, Window
from tests.support import nginx
from tests.support.balanced import ADDRESS_LIMIT, Balanced, at
from tests.support.edge import prepare, running, settings_for, wait_ready
from tests.support.ports import free_ports


@pytest.fixture(scope="session")
def balanced(stack: ServerUrls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balanced]:
    nginx.require_nginx()
    folder = tmp_path_factory.mktemp("nginx")
    settings = settings_for(stack.kafka_bootstrap, f"t{secrets.token_hex(4)}.")
    settings = dataclasses.replace(settings, redis_url=stack.redis_url)
    topology = prepare(settings)
    limits = replace(topology.edge.limits, address=Window(ADDRESS_LIMIT, 3600))
    sources = Sources(proxies=("127.0.0.1/32",))
    topology = replace(topology, edge=replace(topology.edge, limits=limits, sources=sources))
    ports = free_ports()
    certificate, key = nginx.self_signed(folder)
    with running(settings, topology) as first, running(settings, topology) as second:
        wait_ready(first)
        wait_ready(second)
        place = Place(
            (Server(f"127.0.0.1:{first.port}", 3), Server(f"127.0.0.1:{second.port}")),
            ports.edge,
            addresses=("127.0.0.1",),
            folder=folder,
            access_log=folder / "access.log",
        )
        one = Balanced(
            ports.edge, ports.console, ports.simulator, (first, second), certificate, place.access_log
        )
        secure = dataclasses.replace(
            place, port=ports.worker_web, tls=Tls(one.tls_port, certificate, key), names=("localhost",)
        )
        proxied = dataclasses.replace(
            place, port=one.proxied_port, proxy_protocol=True, before=("127.0.0.9/32",)
        )
        with (
            at(folder, topology, place, "plain"),
            at(folder, topology, secure, "tls"),
            at(folder, topology, proxied, "proxied"),
        ):
            yield one
