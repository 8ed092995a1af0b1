"""A bounded read returns every record of its range, ends, and fails when nothing arrives."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from ops.embedded.stack import ServerUrls
from pipeline.runtime.redrive_headers import headers_of
from pipeline.runtime.topic_reader import Batch, ReadTimedOut, RecordLookup, TopicReader
from tests.support.producer import delivered, make_producer
from tests.support.sinks import until

RECORDS = 30  # of each partition


@pytest.fixture
def topic(stack: ServerUrls, namespace: str) -> str:
    """Two partitions: values 0 to 29 each."""
    name = f"{namespace}ranges"
    create(stack, name)
    producer = make_producer(stack.kafka_bootstrap)
    for number in range(RECORDS):
        for partition in (0, 1):
            producer.produce(name, b"%d" % number, b"key", partition)
    delivered(producer)
    return name


@pytest.fixture
def reader(stack: ServerUrls, topic: str) -> Iterator[TopicReader]:
    with TopicReader(stack.kafka_bootstrap, topic, "test") as reader:
        yield reader


def create(stack: ServerUrls, name: str) -> None:
    admin = AdminClient({"bootstrap.servers": stack.kafka_bootstrap})
    for future in admin.create_topics([NewTopic(name, 2, 1)]).values():
        future.result()


def offsets(batches: list[Batch], partition: int) -> list[int]:
    return [record.offset for batch in batches for record in batch.records if record.partition == partition]


def test_a_range_of_each_partition_is_read_and_no_more(reader: TopicReader) -> None:
    batches = list(reader.read({0: 5, 1: 0}, {0: 20, 1: 3}))

    assert offsets(batches, 0) == list(range(5, 20))
    assert offsets(batches, 1) == [0, 1, 2]
    assert {batch.partition: batch.next_offset for batch in batches} == {0: 20, 1: 3}


def test_a_record_holds_what_was_produced(reader: TopicReader, topic: str) -> None:
    [batch] = reader.read({0: 7}, {0: 8})
    [record] = batch.records

    assert (record.topic, record.partition, record.offset) == (topic, 0, 7)
    assert (record.key, record.value, record.redriven) == (b"key", b"7", None)
    assert record.timestamp_ms > 0


def test_one_reader_reads_range_after_range(reader: TopicReader) -> None:
    assert offsets(list(reader.read({0: 0}, {0: 2})), 0) == [0, 1]
    assert offsets(list(reader.read({0: 2}, {0: 4})), 0) == [2, 3]


def test_an_empty_range_ends_at_once(reader: TopicReader) -> None:
    assert list(reader.read({0: 30, 1: 8}, {0: 30, 1: 8})) == []


def test_bounds_are_the_first_and_the_next_offset(reader: TopicReader) -> None:
    assert reader.bounds(2) == {0: (0, RECORDS), 1: (0, RECORDS)}


def test_an_end_without_a_record_ends_the_read(stack: ServerUrls, namespace: str) -> None:
    name = f"{namespace}marker"
    create(stack, name)
    producer = Producer(
        {"bootstrap.servers": stack.kafka_bootstrap, "transactional.id": name, "log_level": 0}
    )
    producer.init_transactions()
    producer.begin_transaction()
    producer.produce(name, b"value", b"key", 0)
    producer.commit_transaction()

    with TopicReader(stack.kafka_bootstrap, name, "test") as reader:
        end = 2  # the record, and the transaction's marker, which is written after the commit's answer
        until(lambda: reader.bounds(2)[0].end == end, "the marker")
        batches = list(reader.read({0: 0}, {0: end}, no_progress_s_max=10))

    assert offsets(batches, 0) == [0]
    assert batches[-1].next_offset == end


def test_no_progress_fails_the_read(reader: TopicReader, topic: str) -> None:
    with pytest.raises(ReadTimedOut) as failed:
        list(reader.read({0: 0}, {0: RECORDS + 1}, no_progress_s_max=0.5))

    assert failed.value.args[0].str() == f"no answer for 0.5 s while reading {topic}"


def test_an_offset_that_the_log_does_not_have_fails_the_read(reader: TopicReader) -> None:
    with pytest.raises(KafkaException):
        list(reader.read({0: 1_000}, {0: 1_001}))


def test_unreachable_brokers_fail_a_request_for_bounds() -> None:
    with (
        TopicReader("127.0.0.1:1", "any", "test", request_timeout_s=0.2) as reader,
        pytest.raises(KafkaException),
    ):
        reader.bounds(1)


def test_the_end_of_the_with_closes_the_consumer(stack: ServerUrls, topic: str) -> None:
    with TopicReader(stack.kafka_bootstrap, topic, "test") as reader:
        pass

    with pytest.raises(RuntimeError, match="closed"):
        list(reader.read({0: 0}, {0: 1}))


def test_single_records_are_looked_up_by_place(stack: ServerUrls, topic: str) -> None:
    with RecordLookup(stack.kafka_bootstrap, "test") as lookup:
        found = lookup.record(topic, 1, 4)
        places = {(topic, 1, 4), (topic, 1, 9), (topic, 0, 0)}
        firsts = lookup.first_records(places, timeout_s=30)

        assert found is not None
        assert (found.offset, found.value) == (4, b"4")
        assert lookup.record(topic, 1, RECORDS) is None
        assert {place: record.offset for place, record in firsts.items()} == {p: p[2] for p in places}


def test_a_redriven_record_is_recognised(stack: ServerUrls, topic: str) -> None:
    producer = make_producer(stack.kafka_bootstrap)
    producer.produce(topic, b"again", b"key", 0, headers=headers_of("letter", 2, "reason"))  # type: ignore[arg-type]
    delivered(producer)

    with RecordLookup(stack.kafka_bootstrap, "test") as lookup:
        found = lookup.record(topic, 0, RECORDS)

    assert found is not None
    assert found.redriven is not None
    assert (found.redriven.dead_letter_id, found.redriven.attempts) == ("letter", 2)
