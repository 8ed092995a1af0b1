"""A producer for batches: sends a batch and waits until all of it is acknowledged.

librdkafka works in its own threads. One thread of this module serves the delivery reports and counts them;
the last report of a batch wakes the event loop. So a batch costs one hand-over between threads, and a record
costs one callback.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from threading import Event, Thread
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, Message

from pipeline.runtime.crash_points import reach
from pipeline.runtime.kafka_clients import RECORD_OVERHEAD_BYTES, idempotent_producer

log = logging.getLogger(__name__)

LINGER_MS = 2
BATCH_BYTES_MAX = 1_000_000  # a topic's `max.message.bytes` holds for a whole batch: none may have less
DELIVERY_TIMEOUT_MS = 30_000  # then a record counts as failed, and is sent again
QUEUE_RECORDS_MAX = 200_000
QUEUE_KBYTES_MAX = 128 << 10
POLL_S = 0.5  # without reports; bounds how long closing takes
FULL_QUEUE_WAIT_S = 0.01

PERMANENT = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.INVALID_RECORD,
        KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT,
        KafkaError._FATAL,
        KafkaError._FENCED,
    }
)


class Outgoing(NamedTuple):
    """A record to send. Without a partition the key decides, as in Java. The value `None` is a tombstone."""

    topic: str
    key: bytes | None
    value: bytes | None
    partition: int | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


class Delivered(NamedTuple):
    """Records written to one topic and partition: their number, and their first and last offset."""

    records: int
    first: int
    last: int


class DeliveryFailed(Exception):
    """Records of a batch were not acknowledged in time. Sending the whole batch again may succeed."""


class DeliveryRejected(Exception):
    """Records of a batch were rejected for a permanent reason. Sending them again does not succeed."""


class _Batch:
    """Counts the delivery reports of one batch; all of them come from one thread."""

    def __init__(self, missing: int) -> None:
        self._missing = missing
        self._loop = asyncio.get_running_loop()
        self._complete = self._loop.create_future()
        self._failed: dict[str, int] = {}
        self._permanent = False
        self._delivered: dict[tuple[str, int], Delivered] = {}

    async def wait(self) -> dict[tuple[str, int], Delivered]:
        """Wait for the last report: each comes within the delivery time-out, as a success or a failure."""
        await self._complete
        if self._failed:
            reasons = "; ".join(f"{count} times {reason}" for reason, count in self._failed.items())
            raise (DeliveryRejected if self._permanent else DeliveryFailed)(reasons)
        return self._delivered

    def report(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            reason = f"{message.topic()}: {error.str()}"
            self._failed[reason] = self._failed.get(reason, 0) + 1
            self._permanent = self._permanent or error.fatal() or error.code() in PERMANENT
        self._missing -= 1
        if not self._missing and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        if not self._complete.done():  # the waiting task may have been cancelled
            self._complete.set_result(None)

    def report_offset(self, error: KafkaError | None, message: Message) -> None:
        offset = message.offset()
        if error is None and offset is not None:
            where = str(message.topic()), int(message.partition() or 0)
            was = self._delivered.get(where)
            self._delivered[where] = (
                Delivered(1, offset, offset)
                if was is None
                else Delivered(was.records + 1, min(was.first, offset), max(was.last, offset))
            )
        self.report(error, message)


class BatchProducer:
    """An idempotent producer with `acks=all`. Share one in a process."""

    def __init__(
        self, bootstrap_servers: str, record_bytes_max: int, extra: Mapping[str, Any] | None = None
    ) -> None:
        self._producer = idempotent_producer(
            bootstrap_servers,
            "quizstream-stages",
            record_bytes_max=record_bytes_max + RECORD_OVERHEAD_BYTES,
            linger_ms=LINGER_MS,
            delivery_timeout_ms=DELIVERY_TIMEOUT_MS,
            batch_bytes_max=BATCH_BYTES_MAX,
            queue_records_max=QUEUE_RECORDS_MAX,
            queue_kbytes_max=QUEUE_KBYTES_MAX,
            logger=log,
            extra=extra,
        )
        self._closing = Event()
        self._reports = Thread(target=self._serve_reports, name="delivery-reports", daemon=True)
        self._reports.start()

    async def deliver(
        self, records: Sequence[Outgoing], positioned: Sequence[Outgoing] = ()
    ) -> dict[tuple[str, int], Delivered]:
        """Send a batch; returns once all of it is acknowledged.

        Returns the offsets of the `positioned` records. Raises `DeliveryFailed` when some were not
        acknowledged in time and `DeliveryRejected` when some never will be; in both cases other records of
        the batch may have been written.
        """
        if not records and not positioned:
            return {}
        batch = _Batch(len(records) + len(positioned))
        await self._produce(records, batch.report)
        reach("stream.outputs_sent")
        await self._produce(positioned, batch.report_offset)
        reach("stream.sent")
        return await batch.wait()

    async def _produce(self, records: Iterable[Outgoing], report: Any) -> None:
        produce = self._producer.produce
        for topic, key, value, partition, headers in records:
            while True:
                try:
                    produce(
                        topic,
                        value,
                        key,
                        partition=-1 if partition is None else partition,
                        on_delivery=report,
                        headers=list(headers),
                    )
                    break
                except BufferError:
                    await asyncio.sleep(FULL_QUEUE_WAIT_S)

    def _serve_reports(self) -> None:
        while not self._closing.is_set():
            self._producer.poll(POLL_S)

    def close(self, timeout_s: float) -> None:
        """Wait at most `timeout_s` for records in flight. Must not be called in the event loop's thread."""
        self._producer.flush(timeout_s)
        self._closing.set()
        self._reports.join()
