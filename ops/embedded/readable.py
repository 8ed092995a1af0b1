"""Checks that every partition can be read to its end.

After a start of several brokers a new leader has no offsets of its followers, and reports no end offset
until they have fetched once.
"""

from __future__ import annotations

PROBE_TIMEOUT_S = 5.0


class Readable:
    """True once every partition's leader tells its end."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap

    def __call__(self) -> bool:
        from confluent_kafka import OFFSET_END, KafkaException, TopicPartition

        from pipeline.runtime.kafka_clients import standalone_consumer

        consumer = standalone_consumer(self._bootstrap, "quizstream-ready")
        try:
            topics = consumer.list_topics(timeout=PROBE_TIMEOUT_S).topics
            # OFFSET_END stands where a time in ms would: the protocol has a time that means the end.
            asked = [
                TopicPartition(name, partition, OFFSET_END)
                for name, topic in topics.items()
                for partition in topic.partitions
            ]
            answers = consumer.offsets_for_times(asked, timeout=PROBE_TIMEOUT_S) if asked else []
        except KafkaException:
            return False
        finally:
            consumer.close()
        return all(answer.error is None for answer in answers)
