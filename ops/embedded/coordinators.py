"""Checks that the brokers serve consumer groups, which an open port does not prove."""

from __future__ import annotations

import time

from ops.embedded.broker import COORDINATOR_PARTITIONS

PROBE_TIMEOUT_S = 5.0


class Coordinators:
    """True once every partition of the group coordinator has answered."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._waiting = list(one_group_per_partition(COORDINATOR_PARTITIONS))

    def __call__(self) -> bool:
        from confluent_kafka import KafkaException

        from pipeline.runtime.kafka_clients import admin_client

        admin = admin_client(self._bootstrap)
        deadline = time.monotonic() + PROBE_TIMEOUT_S
        while self._waiting and time.monotonic() < deadline:
            answers = admin.describe_consumer_groups(self._waiting, request_timeout=PROBE_TIMEOUT_S)
            for group, answer in answers.items():
                try:
                    answer.result(PROBE_TIMEOUT_S)
                    self._waiting.remove(group)
                except (KafkaException, TimeoutError):
                    continue
        return not self._waiting


def one_group_per_partition(partitions: int) -> list[str]:
    """Group names that Kafka assigns to partitions 0, 1, ... of the offsets topic, one each."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < partitions:
        name = f"ready-{number}"
        found.setdefault(_java_hash(name) % partitions, name)
        number += 1
    return [found[partition] for partition in range(partitions)]


def _java_hash(text: str) -> int:
    """`String.hashCode` as Kafka's `Utils.abs` makes it non-negative."""
    value = 0
    for character in text:
        value = (31 * value + ord(character)) & 0xFFFFFFFF
    signed = value - 2**32 if value >= 2**31 else value
    return 0 if signed == -(2**31) else abs(signed)
