"""A sink's Kafka consumer: membership in its group, and batches from given offsets."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from pipeline.errors import OperatorError
from pipeline.runtime.kafka_clients import group_consumer
from pipeline.runtime.record import Record
from pipeline.runtime.topic_reader import record_of
from pipeline.topology.model import Sink as SinkPlan

LOG = logging.getLogger(__name__)
# The broker collects this much, or for this part of the batch's wait, before it answers a fetch: a fetch
# has a fixed cost on both sides, and at the design rate each record would be one.
FETCH_BYTES_MIN = 262_144
FETCH_WAIT_RATIO = 0.5
WATERMARK_TIMEOUT_S = 5.0
SLICE_RECORDS = 100  # records taken between two checks of the batch's size
BATCH_BYTES_MAX = 8_000_000


class DataLoss(OperatorError):
    """The topic no longer has the next record: the process must stop, and an operator decides."""


class Unreadable(Exception):
    """Kafka cannot be read at the moment."""


class _Broker(msgspec.Struct, frozen=True):
    state: str


class _Statistics(msgspec.Struct, frozen=True):
    brokers: dict[str, _Broker] = {}


class LogReader:
    """Consumes one topic as a member of the sink's group; used by one thread.

    After an assignment no record is returned before `start_at`, which sets the offsets.
    """

    def __init__(
        self, bootstrap_servers: str, plan: SinkPlan, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._plan = plan
        self._topic = plan.source.name
        self._clock = clock
        self._assigned: list[int] = []
        self._placed = True
        self.cut_off = False  # whether no broker can be reached, as of the client's last look
        self._consumer = group_consumer(
            bootstrap_servers,
            plan.group,
            f"quizstream-sink-{plan.name}",
            fetch_bytes_min=FETCH_BYTES_MIN,
            fetch_wait_ms=int(plan.batch_wait_ms_max * FETCH_WAIT_RATIO),
            on_statistics=self._on_statistics,
            logger=LOG,
        )
        self._consumer.subscribe(
            [self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
        )

    @property
    def assigned(self) -> list[int]:
        """The partitions that the group gave to this member."""
        return self._assigned

    @property
    def must_start(self) -> bool:
        """Whether partitions wait for `start_at`."""
        return not self._placed

    def bounds(self, partition: int) -> tuple[int, int]:
        """Return the first offset and the one after the last, from the broker. Raises `Unreadable`."""
        try:
            low, high = self._consumer.get_watermark_offsets(
                TopicPartition(self._topic, partition), timeout=WATERMARK_TIMEOUT_S
            )
        except KafkaException as error:
            raise Unreadable(_line(error.args[0])) from error
        return low, high

    def start_at(self, offsets: Mapping[int, int]) -> None:
        """Read from here; `offsets` has every assigned partition."""
        self._assign(offsets)
        self._placed = True

    def hold(self) -> None:
        """Read nothing, and stay in the group as long as `take` or `wait` is called."""
        self._assign({})
        self._placed = not self._assigned

    def wait(self, seconds: float) -> None:
        """Pass time after `hold`."""
        self._consumer.consume(1, timeout=seconds)

    def take(self) -> list[Record]:
        """Return the next records: at most the plan's batch, or those that arrived in the batch's wait.

        May be empty. May change the assignment: check `must_start` before using the records. Raises
        `DataLoss` and `Unreadable`.
        """
        deadline = self._clock() + self._plan.batch_wait_ms_max / 1000
        records: list[Record] = []
        size = 0
        while len(records) < self._plan.batch_records_max and size < BATCH_BYTES_MAX:
            room = min(SLICE_RECORDS, self._plan.batch_records_max - len(records))
            messages = self._consumer.consume(room, timeout=max(0.0, deadline - self._clock()))
            for message in messages:
                record = self._record(message)
                records.append(record)
                size += len(record.value or b"")
            if len(messages) < room or self.must_start:
                break
        return records

    def behind(self, next_offsets: Mapping[int, int]) -> dict[int, int]:
        """Return the number of records from the given offsets on, as of the last fetch."""
        lags = {}
        for partition, offset in next_offsets.items():
            _, high = self._consumer.get_watermark_offsets(
                TopicPartition(self._topic, partition), cached=True
            )
            if high >= 0:
                lags[partition] = max(0, high - offset)
        return lags

    def publish_positions(self, next_offsets: Mapping[int, int]) -> None:
        """Commit the tables' offsets to the group, for lag measurement; its success is not required."""
        try:
            self._consumer.commit(
                offsets=[TopicPartition(self._topic, p, o) for p, o in next_offsets.items()],
                asynchronous=True,
            )
        except KafkaException:
            return  # the next commit has a newer offset

    def close(self) -> None:
        """Leave the group, so that others get the partitions at once."""
        self._consumer.close()

    def _assign(self, offsets: Mapping[int, int]) -> None:
        self._consumer.assign([TopicPartition(self._topic, p, o) for p, o in sorted(offsets.items())])

    def _on_assign(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._assigned = sorted(partition.partition for partition in partitions)
        self.hold()

    def _on_statistics(self, statistics: str) -> None:
        brokers = msgspec.json.decode(statistics, type=_Statistics).brokers
        self.cut_off = all(broker.state != "UP" for broker in brokers.values())

    def _on_revoke(self, consumer: Consumer, _partitions: list[TopicPartition]) -> None:
        self._assigned = []
        self._placed = True
        # An empty assignment is no leave: the group would wait for this member until its poll interval ends.
        consumer.unassign()

    def _record(self, message: Message) -> Record:
        error = message.error()
        if error is None:
            return record_of(message, self._topic)
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            raise DataLoss(f"{self._topic}[{message.partition()}]: {error.str()}")
        if error.fatal():
            raise KafkaException(error)
        raise Unreadable(_line(error))


def _line(error: KafkaError) -> str:
    return str(error.str()).strip().splitlines()[0]
