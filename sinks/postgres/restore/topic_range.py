"""Reads a known range of a topic once, without a group."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from pipeline.topology.model import Topic

REQUEST_TIMEOUT_S = 4.0
SILENCE_S_MAX = 30.0
POLL_S = 0.1
BATCH_RECORDS_MAX = 2000


class Bounds(NamedTuple):
    """First offset in the log and the one after the last."""

    low: int
    high: int


class Read(NamedTuple):
    """Some records of one partition, in order, and the offset after them."""

    partition: int
    messages: list[Message]
    after: int


class LogRange:
    """Use it in a `with`. Every method raises KafkaException where the brokers do not answer."""

    def __init__(self, bootstrap: str, topic: Topic) -> None:
        self._topic = topic
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "client.id": "quizstream-restore-guard",
                "group.id": f"{topic.name}.range",  # asked for by the client; never joined
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
                "allow.auto.create.topics": False,
            }
        )

    def __enter__(self) -> LogRange:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def bounds(self) -> dict[int, Bounds]:
        found = {}
        for partition in range(self._topic.partitions):
            place = TopicPartition(self._topic.name, partition)
            found[partition] = Bounds(*self._consumer.get_watermark_offsets(place, timeout=REQUEST_TIMEOUT_S))
        return found

    def read(self, starts: Mapping[int, int], ends: Mapping[int, int]) -> Iterator[Read]:
        """Everything from `starts` up to `ends`, not included."""
        left = {partition: end for partition, end in ends.items() if starts[partition] < end}
        self._consumer.assign([TopicPartition(self._topic.name, p, starts[p]) for p in left])
        silent_since_s = time.monotonic()
        while left:
            batch = self._consumer.consume(BATCH_RECORDS_MAX, timeout=POLL_S)
            if not batch and time.monotonic() - silent_since_s > SILENCE_S_MAX:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"reading {self._topic.name}"))
            if batch:
                silent_since_s = time.monotonic()
            yield from self._by_partition(batch, left)

    def _by_partition(self, batch: list[Message], left: dict[int, int]) -> Iterator[Read]:
        taken: dict[int, list[Message]] = {}
        ended: dict[int, int] = {}
        for message in batch:
            partition, offset = message.partition() or 0, message.offset() or 0
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            if partition not in left:
                continue
            if error is not None:
                ended[partition] = left[partition]  # what lies between is no record: compacted, or a marker
            elif offset < left[partition]:
                taken.setdefault(partition, []).append(message)
                ended[partition] = offset + 1
            else:
                ended[partition] = left[partition]
        for partition, after in ended.items():
            yield Read(partition, taken.get(partition, []), after)
            if after >= left[partition]:
                del left[partition]
