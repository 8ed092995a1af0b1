"""The way to the dead letters for records that a sink cannot store."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from pipeline.errors import OperatorError
from pipeline.runtime.clock import now_s
from pipeline.runtime.dead_letters import dead_letter, dead_letter_output
from pipeline.runtime.kafka_clients import idempotent_producer
from pipeline.runtime.record import Record
from pipeline.topology.model import Topic
from sinks.postgres.sink import Refused

LOG = logging.getLogger(__name__)
DELIVERY_TIMEOUT_MS = 10_000  # then the batch is given up and read again
LINGER_MS = 5


class NotDelivered(OperatorError):
    """Not every record is durable: what they came from must not be passed."""


def producer(bootstrap_servers: str, client_id: str, record_bytes_max: int) -> Producer:
    """Ordered and acknowledged by all replicas; keys land where Java's clients would put them."""
    return idempotent_producer(
        bootstrap_servers,
        client_id,
        record_bytes_max=record_bytes_max,
        linger_ms=LINGER_MS,
        delivery_timeout_ms=DELIVERY_TIMEOUT_MS,
        logger=LOG,
    )


class DeadLetters:
    """Shared by the sinks of a process."""

    def __init__(self, producer: Producer, topic: Topic, clock: Callable[[], float] = now_s) -> None:
        self._producer = producer
        self._topic = topic
        self._clock = clock

    def refuse(self, stage: str, refused: Sequence[Refused]) -> None:
        """Returns once all are durable, else raises `NotDelivered`; the same record twice has one id."""
        failures: list[KafkaError] = []
        pending = len(refused)

        def reported(error: KafkaError | None, _message: Message) -> None:
            nonlocal pending
            pending -= 1
            if error is not None:
                failures.append(error)

        try:
            for each in refused:
                self._send(stage, each, reported)
            deadline_s = time.monotonic() + DELIVERY_TIMEOUT_MS / 1000
            while pending and time.monotonic() < deadline_s:
                self._producer.poll(0.1)
        except (KafkaException, BufferError) as error:
            raise NotDelivered(f"dead letters: {error}") from error
        if pending or failures:
            raise NotDelivered(f"dead letters: {failures[0].str() if failures else 'no answer in time'}")

    def _send(
        self, stage: str, refused: Refused, reported: Callable[[KafkaError | None, Message], None]
    ) -> None:
        try:
            self._produce(stage, refused.record, refused.reason, reported)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.MSG_SIZE_TOO_LARGE:
                raise
            # The envelope made it too large: keep where it is and why, the record itself is in its own topic.
            size = len(refused.record.value or b"")
            reason = f"{refused.reason} (value of {size} bytes left in the source topic)"
            self._produce(stage, without_value(refused.record), reason, reported)

    def _produce(
        self, stage: str, record: Record, reason: str, reported: Callable[[KafkaError | None, Message], None]
    ) -> None:
        letter = dead_letter(record, stage, reason, record.attempts, int(self._clock() * 1000))
        output = dead_letter_output(self._topic, letter)
        self._producer.produce(output.topic, output.value, output.key, on_delivery=reported)


def without_value(record: Record) -> Record:
    """Where it lay, without what it held."""
    return msgspec.structs.replace(record, value=None)
