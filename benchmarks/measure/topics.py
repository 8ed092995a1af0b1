"""Topics of one measurement on a broker: state of an earlier one would be read back."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.measure.machine import TOPOLOGY
from ops.topics.command import apply
from pipeline.runtime.kafka_clients import admin_client
from pipeline.topology.loader import load
from pipeline.topology.model import Topology

LIST_TIMEOUT_S = 10.0


@contextmanager
def own_topics(bootstrap: str) -> Iterator[tuple[str, Topology]]:
    """A new namespace and its topology, created empty; all topics of the namespace are removed afterwards."""
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
