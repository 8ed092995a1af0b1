"""The links between parts, and the settings that route connections through them.

A Kafka client connects to the address that the broker advertises: for each kind of client every broker has a
separate listener, whose advertised port is that client's link.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from ops.chaos.machine.background import Background
from ops.chaos.machine.proxy import Link
from ops.embedded.broker import Listener
from ops.locate import Deployment
from pipeline.runtime.ports import LOOPBACK, Ports

# Link -> the process whose Kafka clients use it.
KAFKA_LINKS = {"edge-kafka": "edge", "worker-kafka": "worker", "sink-kafka": "postgres-sink"}
LINKS = ("sink-postgres", "sender-postgres", "sender-provider", "clients-edge", "provider-edge", *KAFKA_LINKS)
# Above the table of a home's ports, and above those of further processes.
KAFKA_LISTENERS_OFFSET = 140
LISTENERS_PER_BROKER_MAX = 10

Links = dict[str, tuple[Link, ...]]


def open_links(ports: Ports, brokers: int, background: Background) -> Links:
    """Return the links by name, one per broker for Kafka. The servers behind them may start later."""
    upstream = {
        "sink-postgres": [ports.postgres],
        "sender-postgres": [ports.postgres],
        "sender-provider": [ports.simulator],
        "clients-edge": [ports.edge],
        "provider-edge": [ports.edge],
        **{name: [_port(ports, name, node) for node in range(1, brokers + 1)] for name in KAFKA_LINKS},
    }
    links: Links = {
        name: tuple(Link(name, port, random.Random(f"{name} {port}")) for port in upstream[name])
        for name in LINKS
    }
    for together in links.values():
        for link in together:
            background.do(link.open())
    return links


def kafka_listeners(ports: Ports, brokers: int, links: Links) -> dict[int, Sequence[Listener]]:
    """Return node id -> listeners, one for each link."""
    return {
        node: [
            Listener(
                name.replace("-", "_").upper(),
                _port(ports, name, node),
                links[name][node - 1].port,
            )
            for name in KAFKA_LINKS
        ]
        for node in range(1, brokers + 1)
    }


def _port(ports: Ports, name: str, node: int) -> int:
    first = ports.base + KAFKA_LISTENERS_OFFSET + LISTENERS_PER_BROKER_MAX * (node - 1)
    return first + list(KAFKA_LINKS).index(name)


def through(url: str, links: Sequence[Link]) -> str:
    """Return the same URL with the link's address."""
    parts = urlsplit(url)
    user, at, _ = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user}{at}{LOOPBACK}:{links[0].port}").geturl()


def overrides(found: Deployment, links: Mapping[str, Sequence[Link]]) -> dict[str, dict[str, str]]:
    """Return process name -> variables with the servers' addresses through links."""
    settings = found.settings
    by_process = {
        process: {"KAFKA_BOOTSTRAP_SERVERS": ",".join(f"{LOOPBACK}:{link.port}" for link in links[name])}
        for name, process in KAFKA_LINKS.items()
    }
    by_process["postgres-sink"]["DATABASE_URL"] = through(settings.database_url, links["sink-postgres"])
    by_process["whatsapp-sender"] = {"DATABASE_URL": through(settings.database_url, links["sender-postgres"])}
    by_process["simulator"] = {"QUIZSTREAM_EDGE_URL": through(settings.edge_url, links["provider-edge"])}
    return by_process
