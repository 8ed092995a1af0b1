"""Positions in topics, as the brokers say them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

REQUEST_TIMEOUT_S = 10.0
LEADERS_TIMEOUT_S = 10.0
LEADERS_POLL_S = 0.1
_PASSING = frozenset({KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE})

# Topic -> partition -> offset.
Offsets = dict[str, dict[int, int]]


def begins(admin: AdminClient, topics: Mapping[str, int]) -> Offsets:
    """The first offset that is still there. `topics`: name -> partitions. Raises KafkaException."""
    return _listed(admin, topics, OffsetSpec.earliest())  # type: ignore[no-untyped-call]


def ends(admin: AdminClient, topics: Mapping[str, int]) -> Offsets:
    """The offset that the next record will have. `topics`: name -> partitions. Raises KafkaException."""
    return _listed(admin, topics, OffsetSpec.latest())  # type: ignore[no-untyped-call]


def committed(admin: AdminClient, groups: Iterable[str]) -> dict[str, Offsets]:
    """Group -> its positions; a partition without one is absent. Raises KafkaException."""
    found: dict[str, Offsets] = {}
    for group in groups:  # the client asks for one group at a time
        asked = [ConsumerGroupTopicPartitions(group)]
        futures = admin.list_consumer_group_offsets(asked, request_timeout=REQUEST_TIMEOUT_S)
        found[group] = {}
        for where in futures[group].result().topic_partitions:
            if where.offset >= 0:
                found[group].setdefault(where.topic, {})[where.partition] = where.offset
    return found


def _listed(admin: AdminClient, topics: Mapping[str, int], spec: OffsetSpec) -> Offsets:
    missing = {(topic, partition) for topic, partitions in topics.items() for partition in range(partitions)}
    found: Offsets = {topic: {} for topic in topics}
    deadline_s = time.monotonic() + LEADERS_TIMEOUT_S
    while True:
        asked = {TopicPartition(topic, partition): spec for topic, partition in missing}
        refused: KafkaException | None = None
        for where, future in admin.list_offsets(asked, request_timeout=REQUEST_TIMEOUT_S).items():
            try:
                found[where.topic][where.partition] = future.result().offset
                missing.discard((where.topic, where.partition))
            except KafkaException as error:
                refused = error
        if refused is None:
            return found
        # A partition that was just made, or whose broker has just gone, has no leader for a moment.
        if refused.args[0].code() not in _PASSING or time.monotonic() > deadline_s:
            raise refused
        time.sleep(LEADERS_POLL_S)
