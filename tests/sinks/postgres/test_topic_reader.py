"""Members of one sink's group hand partitions to each other at once."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress

import pytest
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from ops.embedded.stack import ServerUrls
from pipeline.runtime.kafka_clients import SESSION_TIMEOUT_MS
from pipeline.topology.loader import load
from pipeline.topology.model import Topology
from sinks.postgres.topic_reader import LogReader, Unreadable
from tests.support.sinks import DEADLINE_S

# A group that waits for a member which never lets go does so for the poll interval: minutes.
HANDED_OVER_S_MAX = 3 * SESSION_TIMEOUT_MS / 1000


@pytest.fixture
def topology(stack: ServerUrls, namespace: str) -> Topology:
    from pipeline.runtime.settings import Settings

    topology = load(Settings.from_env({}).topology_file, namespace)
    topic = topology.sink("completions").source
    admin = AdminClient({"bootstrap.servers": stack.kafka_bootstrap})
    for made in admin.create_topics([NewTopic(topic.name, topic.partitions, 1)]).values():
        made.result(DEADLINE_S)
    return topology


def test_a_second_member_gets_its_share_and_gives_it_back(stack: ServerUrls, topology: Topology) -> None:
    plan = topology.sink("completions")
    everything = list(range(plan.source.partitions))
    first = LogReader(stack.kafka_bootstrap, plan)
    poll_until_assigned([first], everything)
    second = LogReader(stack.kafka_bootstrap, plan)
    poll_until_assigned([first, second], everything)
    assert first.assigned
    assert second.assigned
    second.close()
    poll_until_assigned([first], everything)
    assert first.assigned == everything
    first.close()


def poll_until_assigned(readers: list[LogReader], everything: list[int]) -> None:
    """Each is polled as its runner does; together they then have every partition, each at least one."""
    deadline_s = time.monotonic() + HANDED_OVER_S_MAX
    while not (all(reader.assigned for reader in readers) and shared(readers) == everything):
        assert time.monotonic() < deadline_s, [reader.assigned for reader in readers]
        for reader in readers:
            with suppress(Unreadable):  # the brokers need a moment to agree on a new topic
                if reader.must_start:
                    reader.start_at(dict.fromkeys(reader.assigned, 0))
                reader.take()


def shared(readers: Iterable[LogReader]) -> list[int]:
    return sorted(partition for reader in readers for partition in reader.assigned)
