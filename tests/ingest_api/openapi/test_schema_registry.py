from __future__ import annotations

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.serialization import MessageField, SerializationContext

from schemas import catalogue
from tests.support.edge import Edge


def test_a_stock_consumer_needs_the_edge_and_nothing_else_to_read_completions(edge: Edge) -> None:
    given = {"answers": {"q1": "4", "q2": ["a", "b"]}, "contact": {"phone": "+5547989211984"}}
    completion_id = edge.submit("capitals", given).json["completion_id"]
    topic = edge.topology.topic("completions").name
    deserialize = AvroDeserializer(SchemaRegistryClient({"url": edge.url}))
    consumer = Consumer(
        {
            "bootstrap.servers": edge.settings.kafka_bootstrap_servers,
            "group.id": "stock",
            "enable.partition.eof": True,
        }
    )
    partitions = range(edge.topology.topic("completions").partitions)
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    read = {}
    ends = 0
    while ends < len(partitions):
        message = consumer.poll(30)
        assert message is not None
        if message.error():
            ends += 1
            continue
        event = deserialize(message.value(), SerializationContext(topic, MessageField.VALUE))
        read[event["completion_id"]] = event
    consumer.close()
    assert read[completion_id]["answers"] == given["answers"]
    assert read[completion_id]["personal"]["phone"] == "+5547989211984"
    assert read[completion_id]["score"] == 1.0


def test_the_stock_client_finds_subjects_versions_and_ids(edge: Edge) -> None:
    client = SchemaRegistryClient({"url": edge.url})
    subject = edge.topology.topic("completions").name + "-value"
    assert subject in client.get_subjects()
    latest = client.get_latest_version(subject)
    assert latest.schema_id == catalogue.current("completion").schema_id
    assert client.get_versions(subject)[-1] == latest.version
    assert client.get_version(subject, latest.version).schema_id == latest.schema_id
    assert client.get_schema(latest.schema_id).schema_str == catalogue.current("completion").text


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/schemas/ids/1", 40403),
        ("/schemas/ids/x", 40403),
        ("/schemas/ids/" + "9" * 50, 40403),
        ("/subjects/nothing-value/versions", 40401),
        ("/subjects/nothing-value/versions/latest", 40401),
    ],
)
def test_what_is_not_there_is_a_problem_that_a_registrys_client_reads(
    edge: Edge, path: str, code: int
) -> None:
    answer = edge.ask("GET", path)
    assert answer.problem == "unknown-schema"
    assert answer.json["error_code"] == code


@pytest.mark.parametrize("version", ["0", "99", "x", "-2"])
def test_a_version_that_is_not_there(edge: Edge, version: str) -> None:
    subject = edge.topology.topic("completions").name + "-value"
    assert edge.ask("GET", f"/subjects/{subject}/versions/{version}").json["error_code"] == 40402


def test_the_stock_client_raises_its_own_error(edge: Edge) -> None:
    with pytest.raises(SchemaRegistryError) as raised:
        SchemaRegistryClient({"url": edge.url}).get_schema(1)
    assert raised.value.error_code == 40403
