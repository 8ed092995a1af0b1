"""Single records out of a log, by their place."""

from __future__ import annotations

import time
from types import TracebackType

from confluent_kafka import Consumer, KafkaException, TopicPartition

from pipeline.runtime.record import Record

READ_TIMEOUT_S = 10.0
POLL_S = 0.5


class SourceLog:
    """Use it in a `with`: it connects at the first question."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._consumer: Consumer | None = None

    def __enter__(self) -> SourceLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._consumer is not None:
            self._consumer.close()

    def record(self, topic: str, partition: int, offset: int) -> Record | None:
        """The record at this place, None where the log does not hold it any more.

        Raises KafkaException where the brokers cannot be asked or do not answer.
        """
        consumer = self._connected()
        place = TopicPartition(topic, partition, offset)
        low, high = consumer.get_watermark_offsets(place, timeout=READ_TIMEOUT_S)
        if not low <= offset < high:
            return None
        consumer.assign([place])
        deadline_s = time.monotonic() + READ_TIMEOUT_S
        while time.monotonic() < deadline_s:
            message = consumer.poll(POLL_S)
            if message is None:
                continue
            error = message.error()
            if error is not None:
                raise KafkaException(error)
            if message.offset() != offset:
                return None  # compacted away
            return Record(topic, partition, offset, message.timestamp()[1], message.key(), message.value())
        raise KafkaException(f"no answer while reading {topic}[{partition}]@{offset}")

    def _connected(self) -> Consumer:
        if self._consumer is None:
            self._consumer = Consumer(
                {
                    "bootstrap.servers": self._bootstrap,
                    "group.id": "quizstream-redrive",  # asked for by the client; never joined
                    "enable.auto.commit": False,
                    "auto.offset.reset": "error",
                }
            )
        return self._consumer
