"""Every link has a place of its own, and each kind of process goes by the links that are its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.chaos.machine.background import Background
from ops.chaos.machine.links import KAFKA_LINKS, LINKS, kafka_listeners, open_links, overrides
from ops.embedded.broker import Broker
from ops.embedded.home import Home
from ops.locate import find
from pipeline.runtime.ports import PORT_OFFSET_MAX
from tests.support.ports import free_ports

HOME_PORTS = 200  # of a fault run


@pytest.mark.parametrize("brokers", [1, 3])
def test_clients_of_kafka_are_told_to_come_back_by_their_link(tmp_path: Path, brokers: int) -> None:
    ports, background = free_ports(blocks=2), Background("links")
    try:
        links = open_links(ports, brokers, background)
        assert set(links) == set(LINKS)
        listeners = kafka_listeners(ports, brokers, links)
        for name, process in KAFKA_LINKS.items():
            assert len(links[name]) == brokers
            found = find({"QUIZSTREAM_HOME": str(tmp_path), "QUIZSTREAM_PORT_BASE": str(ports.base)})
            bootstrap = overrides(found, links)[process]["KAFKA_BOOTSTRAP_SERVERS"]
            assert bootstrap == ",".join(f"127.0.0.1:{link.port}" for link in links[name])
        listened = [listener.port for each in listeners.values() for listener in each]
        assert len(set(listened)) == len(KAFKA_LINKS) * brokers
        assert all(PORT_OFFSET_MAX < port - ports.base < HOME_PORTS for port in listened)
        for node, each in listeners.items():
            told = Broker(Home(tmp_path), ports, node, brokers, each).properties()
            for name in KAFKA_LINKS:
                listener = f"{name.replace('-', '_').upper()}://127.0.0.1:{links[name][node - 1].port}"
                assert listener in told.partition("advertised.listeners=")[2].splitlines()[0]
    finally:
        for together in links.values():
            for link in together:
                background.do(link.close())
        background.close()
