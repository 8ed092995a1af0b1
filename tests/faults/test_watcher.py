"""The watcher's accounts, and that it speaks up when a commit passes what is durable."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest
from confluent_kafka import Consumer, TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from ops.chaos.watcher import Debts, Watcher
from ops.embedded.stack import ServerUrls
from ops.locate import Deployment
from ops.topics.command import apply
from pipeline.runtime.settings import Settings
from pipeline.topology.loader import load
from pipeline.topology.model import Topic
from tests.support.producer import delivered, make_producer


@given(st.lists(st.booleans(), min_size=1), st.data())
def test_whoever_is_passed_unpaid_is_named_once(paid: Sequence[bool], data: st.DataObject) -> None:
    debts = Debts()
    for offset, is_paid in enumerate(paid):
        debts.owe(0, offset, f"id {offset}")
        if is_paid:
            debts.pay(f"id {offset}")
    named = []
    for committed in [*sorted(data.draw(st.lists(st.integers(0, len(paid))))), len(paid)]:
        named += [debt.offset for debt in debts.passed(0, committed)]
    assert named == [offset for offset, is_paid in enumerate(paid) if not is_paid]


@pytest.fixture
def found(stack: ServerUrls, namespace: str, database_url: str) -> Deployment:
    settings = dataclasses.replace(
        Settings.from_env({"KAFKA_BOOTSTRAP_SERVERS": stack.kafka_bootstrap}),
        database_url=database_url,
        topic_namespace=namespace,
    )
    topology = load(settings.topology_file, namespace)
    apply(topology, settings.kafka_bootstrap_servers, 1)
    return Deployment(settings, topology)


def commit(found: Deployment, group: str, topic: Topic, offset: int) -> None:
    bootstrap = found.settings.kafka_bootstrap_servers
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group})
    consumer.commit(offsets=[TopicPartition(topic.name, 0, offset)], asynchronous=False)
    consumer.close()


def test_a_commit_past_a_record_without_a_verdict_is_told(found: Deployment) -> None:
    raw = found.topology.topic("completions")
    producer = make_producer(found.settings.kafka_bootstrap_servers)
    producer.produce(raw.name, b"no completion", b"key", partition=0)
    delivered(producer)
    watcher = Watcher(found)
    watcher.look()
    assert watcher.violations == []
    commit(found, found.topology.stream.group, raw, 1)
    watcher.look()
    (violation,) = watcher.violations
    assert violation.ids == (f"{raw.name}[0]@0",)
    assert "without a verdict" in violation.what
    watcher.close()


def test_a_commit_past_a_sinks_tables_is_told(found: Deployment) -> None:
    sink = found.topology.sink("completions")
    watcher = Watcher(found)
    watcher.look()
    assert watcher.violations == []
    commit(found, sink.group, sink.source, 1)
    watcher.look()
    assert "sink completions" in watcher.violations[0].what
    watcher.close()
