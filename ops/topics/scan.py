"""Reads a topic once, from its beginning to where it ends now, without a group."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from ops.topics import offsets
from pipeline.runtime.record import Record
from pipeline.runtime.redrive_headers import redriven
from pipeline.topology.model import Topic

BATCH_RECORDS_MAX = 2000
POLL_S = 0.05
SILENCE_S_MAX = 30.0


class ScanBroken(Exception):
    """The brokers stopped answering half-way. The message is one line."""


class TopicScan:
    """`whole`: nothing was removed from the topic's beginning yet (what is compacted away does not show)."""

    def __init__(self, bootstrap: str, topic: Topic) -> None:
        """Raises KafkaException when the brokers cannot be asked."""
        self._bootstrap = bootstrap
        self._topic = topic
        asked = {topic.name: topic.partitions}
        with closing(offsets.Brokers(bootstrap)) as brokers:
            self._begins = brokers.begins(asked)[topic.name]
            self._ends = brokers.ends(asked)[topic.name]
        self.whole = not any(self._begins.values())

    def records(self) -> Iterator[Record]:
        """Every record, in the order of each partition. Raises ScanBroken."""
        unfinished = {
            partition: end for partition, end in self._ends.items() if end > self._begins[partition]
        }
        if not unfinished:
            return
        consumer = Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                "group.id": f"{self._topic.name}.scan",  # asked for by the client; never joined
                "enable.auto.commit": False,
                "log_level": 0,  # what goes wrong is raised
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
            }
        )
        try:
            consumer.assign(
                [TopicPartition(self._topic.name, number, self._begins[number]) for number in unfinished]
            )
            silent_for_s = 0.0
            while unfinished:
                batch = consumer.consume(BATCH_RECORDS_MAX, timeout=POLL_S)
                if not batch:
                    silent_for_s += POLL_S
                    if silent_for_s > SILENCE_S_MAX:
                        raise ScanBroken(
                            f"No answer from {self._bootstrap} while reading {self._topic.name}."
                        )
                    continue
                silent_for_s = 0.0
                for message in batch:
                    yield from self._one(message, unfinished)
        finally:
            consumer.close()

    def _one(self, message: Message, unfinished: dict[int, int]) -> Iterator[Record]:
        partition, offset = message.partition() or 0, message.offset() or 0
        error = message.error()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            raise KafkaException(error)
        if error is None and offset < self._ends[partition]:
            stamp_ms = message.timestamp()[1]
            headers = redriven(message.headers())
            yield Record(
                *(self._topic.name, partition, offset, stamp_ms, message.key(), message.value(), headers)
            )
        # A transaction's marker or a compacted end has no record: the end of the partition tells.
        if partition in unfinished and (error is not None or offset + 1 >= unfinished[partition]):
            del unfinished[partition]
