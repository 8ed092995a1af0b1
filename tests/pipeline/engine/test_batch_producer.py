"""A batch is delivered when every record of it is acknowledged, and says where its records went."""

import asyncio

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from ops.embedded.stack import ServerUrls
from pipeline.engine.batch_producer import (
    BatchProducer,
    Delivered,
    DeliveryFailed,
    DeliveryRejected,
    Outgoing,
)


@pytest.fixture
def topic(stack: ServerUrls, namespace: str) -> str:
    admin = AdminClient({"bootstrap.servers": stack.kafka_bootstrap})
    name = f"{namespace}batch"
    for future in admin.create_topics([NewTopic(name, 2, 1)]).values():
        future.result()
    return name


def test_offsets_of_positioned_records_are_told(stack: ServerUrls, topic: str) -> None:
    producer = BatchProducer(stack.kafka_bootstrap, 1_000_000)

    async def twice() -> dict[tuple[str, int], Delivered]:
        records = [Outgoing(topic, b"key", b"%d" % n, 0) for n in range(500)]
        assert await producer.deliver([], records) == {(topic, 0): Delivered(500, 0, 499)}
        return await producer.deliver(records, [Outgoing(topic, b"key", None, 1)])

    assert asyncio.run(twice()) == {(topic, 1): Delivered(1, 0, 0)}
    producer.close(5)
    consumer = Consumer({"bootstrap.servers": stack.kafka_bootstrap, "group.id": topic})
    assert consumer.get_watermark_offsets(TopicPartition(topic, 0)) == (0, 1000)
    consumer.close()


def test_an_empty_batch_is_delivered_at_once(stack: ServerUrls) -> None:
    producer = BatchProducer("127.0.0.1:1", 1_000, {"log_level": 0})

    assert asyncio.run(producer.deliver([])) == {}


def test_a_missing_topic_is_refused(stack: ServerUrls, namespace: str) -> None:
    producer = BatchProducer(stack.kafka_bootstrap, 1_000, {"topic.metadata.propagation.max.ms": 100})

    with pytest.raises(DeliveryRejected, match=f"{namespace}nowhere"):
        asyncio.run(producer.deliver([Outgoing(f"{namespace}nowhere", None, b"v")]))


def test_a_record_that_the_broker_finds_too_large_is_refused(stack: ServerUrls, topic: str) -> None:
    producer = BatchProducer(stack.kafka_bootstrap, 8_000_000, {"compression.type": "none"})

    with pytest.raises(DeliveryRejected):
        asyncio.run(producer.deliver([Outgoing(topic, None, b"x" * 2_000_000)]))


def test_brokers_that_are_away_make_a_failure_that_may_pass() -> None:
    producer = BatchProducer("127.0.0.1:1", 1_000, {"delivery.timeout.ms": 300, "log_level": 0})

    with pytest.raises(DeliveryFailed):
        asyncio.run(producer.deliver([Outgoing("topic", None, b"v")]))
