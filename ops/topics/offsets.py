"""Positions in topics, as the brokers say them.

Asked by plain consumers that join no group. The admin client has calls for the same and is not used: once a
group's coordinator has moved, its answer ends the whole process (a segmentation fault of librdkafka 2.16, its
issue 5040), and once a partition's leader has changed it asks with the old epoch for ever.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, TopicPartition

REQUEST_TIMEOUT_S = 10.0
MOVING_S_MAX = 5.0  # what a partition may take to have a leader that all agree on
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


class Brokers:
    """Keeps its connections between two questions. One thread at a time. Each raises KafkaException."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._consumers: dict[str, Consumer] = {}  # by group: the client has one group in its life

    def begins(self, topics: Partitions) -> Offsets:
        """The first offset that is still there."""
        return self._listed(topics, OFFSET_BEGINNING)

    def ends(self, topics: Partitions) -> Offsets:
        """The offset that the next record will have."""
        return self._listed(topics, OFFSET_END)

    def committed(self, group: str, topics: Partitions) -> Offsets:
        """The group's positions; a partition without one is absent."""
        asked = [TopicPartition(topic, number) for topic, count in topics.items() for number in range(count)]
        found: Offsets = {}
        for where in self._consumer(group).committed(asked, timeout=REQUEST_TIMEOUT_S):
            if where.error is not None:
                raise KafkaException(where.error)
            if where.offset >= 0:
                found.setdefault(where.topic, {})[where.partition] = where.offset
        return found

    def close(self) -> None:
        for consumer in self._consumers.values():
            consumer.close()
        self._consumers.clear()

    def _listed(self, topics: Partitions, which: int) -> Offsets:
        """`which` stands where a time in ms would: the protocol has two times that mean the ends."""
        asked = [
            TopicPartition(topic, number, which) for topic, count in topics.items() for number in range(count)
        ]
        found: Offsets = {topic: {} for topic in topics}
        deadline_s = time.monotonic() + MOVING_S_MAX
        while asked:
            try:
                for where in self._times(asked):
                    found[where.topic][where.partition] = where.offset
                return found
            except KafkaException as error:
                if error.args[0].code() not in _MOVING or time.monotonic() > deadline_s:
                    raise
            time.sleep(MOVING_POLL_S)
        return found

    def _times(self, asked: list[TopicPartition]) -> list[TopicPartition]:
        any_group = next(iter(self._consumers), "offsets")
        answers = self._consumer(any_group).offsets_for_times(asked, timeout=REQUEST_TIMEOUT_S)
        for where in answers:
            if where.error is not None:
                raise KafkaException(where.error)
        return answers

    def _consumer(self, group: str) -> Consumer:
        if group not in self._consumers:
            self._consumers[group] = Consumer(
                {
                    "bootstrap.servers": self._bootstrap,
                    "group.id": group,
                    "enable.auto.commit": False,
                    "log_level": 0,  # what goes wrong is raised
                }
            )
        return self._consumers[group]
