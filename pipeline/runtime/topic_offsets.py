"""Offsets of topics and consumer groups, as the brokers report them.

Requested by plain consumers that join no group. The admin client has calls for the same and is not used:

- Once a group's coordinator has moved, its answer ends the whole process (a segmentation fault of librdkafka
  2.16, its issue 5040).
- Once a partition's leader has changed, it sends the old epoch in every later request.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, TopicPartition

from pipeline.runtime.kafka_clients import standalone_consumer

REQUEST_TIMEOUT_S = 10.0
MOVING_S_MAX = 5.0  # how long a partition may take to have a leader that all brokers agree on
MOVING_POLL_S = 0.1
_MOVING = frozenset(
    {
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
    }
)

# Topic -> partition -> offset.
Offsets = dict[str, dict[int, int]]
# Topic -> number of partitions.
Partitions = Mapping[str, int]


class Bounds(NamedTuple):
    """The offset of the first record that a partition still has, and the offset of the next one to come."""

    first: int
    end: int


class TopicOffsets:
    """Keeps its connections between two requests. For one thread. Each method raises KafkaException."""

    def __init__(self, bootstrap: str, request_timeout_s: float = REQUEST_TIMEOUT_S) -> None:
        self._bootstrap = bootstrap
        self._request_timeout_s = request_timeout_s
        self._consumers: dict[str, Consumer] = {}  # by group: a client has one group in its life

    def __enter__(self) -> TopicOffsets:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def begins(self, topics: Partitions) -> Offsets:
        """The offset of the first record that each partition still has."""
        return self._listed(topics, OFFSET_BEGINNING)

    def ends(self, topics: Partitions) -> Offsets:
        """The offset that the next record of each partition will have."""
        return self._listed(topics, OFFSET_END)

    def committed(self, group: str, topics: Partitions) -> Offsets:
        """The group's committed offsets; a partition without one is absent."""
        wanted = [TopicPartition(topic, number) for topic, count in topics.items() for number in range(count)]
        found: Offsets = {}
        for place in self._consumer(group).committed(wanted, timeout=self._request_timeout_s):
            if place.error is not None:
                raise KafkaException(place.error)
            if place.offset >= 0:
                found.setdefault(place.topic, {})[place.partition] = place.offset
        return found

    def close(self) -> None:
        for consumer in self._consumers.values():
            consumer.close()
        self._consumers.clear()

    def _listed(self, topics: Partitions, which: int) -> Offsets:
        places = [(topic, number) for topic, count in topics.items() for number in range(count)]
        any_group = next(iter(self._consumers), "offsets")
        found: Offsets = {topic: {} for topic in topics}
        for (topic, partition), offset in list_offsets(
            self._consumer(any_group), places, which, self._request_timeout_s
        ).items():
            found[topic][partition] = offset
        return found

    def _consumer(self, group: str) -> Consumer:
        if group not in self._consumers:
            self._consumers[group] = standalone_consumer(self._bootstrap, "quizstream-offsets", group=group)
        return self._consumers[group]


def list_offsets(
    consumer: Consumer, places: Iterable[tuple[str, int]], which: int, request_timeout_s: float
) -> dict[tuple[str, int], int]:
    """The first (OFFSET_BEGINNING) or the next (OFFSET_END) offset of each (topic, partition).

    One request for all partitions of a broker. Repeats it for `MOVING_S_MAX` while leaders move. Raises
    KafkaException.
    """
    # `which` is passed in the place of a time in ms: the protocol has two times for the ends.
    wanted = [TopicPartition(topic, partition, which) for topic, partition in places]
    deadline_s = time.monotonic() + MOVING_S_MAX
    while wanted:
        try:
            answers = consumer.offsets_for_times(wanted, timeout=request_timeout_s)
            for place in answers:
                if place.error is not None:
                    raise KafkaException(place.error)
            return {(place.topic, place.partition): place.offset for place in answers}
        except KafkaException as error:
            if error.args[0].code() not in _MOVING or time.monotonic() > deadline_s:
                raise
        time.sleep(MOVING_POLL_S)
    return {}
