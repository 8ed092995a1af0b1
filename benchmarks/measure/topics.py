"""Topics of one measurement: created on a broker, read back for the checks."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.measure.machine import TOPOLOGY
from ops.locate import Deployment
from ops.topics.command import apply
from pipeline.runtime.kafka_clients import admin_client
from pipeline.runtime.record import Record
from pipeline.runtime.topic_reader import TopicScan
from pipeline.topology.loader import load
from pipeline.topology.model import Topology
from schemas.codec import codec

LIST_TIMEOUT_S = 10.0


def events(bootstrap: str, topology: Topology, role: str) -> Iterator[tuple[Record, Any]]:
    """Every record of a topic with its decoded event."""
    topic = topology.topic(role)
    decode = codec(topic.schema or role).decode
    for record in TopicScan(bootstrap, topic).records():
        yield record, decode(record.value)


def events_of(found: Deployment, role: str) -> Iterator[tuple[Record, Any]]:
    return events(found.settings.kafka_bootstrap_servers, found.topology, role)


@contextmanager
def own_topics(bootstrap: str) -> Iterator[tuple[str, Topology]]:
    """A new namespace and its topology, created empty; all topics of the namespace are removed afterwards.

    With topics of an earlier measurement its state would be read back.
    """
    namespace = f"bench-{secrets.token_hex(4)}."
    topology = load(TOPOLOGY, namespace)
    apply(topology, bootstrap, 1)
    try:
        yield namespace, topology
    finally:
        admin = admin_client(bootstrap)
        # A framework's own changelogs hold the namespace in their names, too.
        token = namespace.rstrip(".")
        names = [name for name in admin.list_topics(timeout=LIST_TIMEOUT_S).topics if token in name]
        for future in admin.delete_topics(names).values():
            future.result()
