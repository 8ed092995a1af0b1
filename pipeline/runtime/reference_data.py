"""Reference data (quizzes, campaigns, tokens), followed on its compacted topic into memory."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, Message, TopicPartition

from pipeline.errors import OperatorError
from pipeline.runtime import metrics
from pipeline.runtime.kafka_clients import standalone_consumer
from pipeline.topology.model import Topic
from schemas.codec import Codec, Undecodable

log = logging.getLogger(__name__)

Event = TypeVar("Event")

POLL_S = 0.2
RETRY_S = 0.1
BATCH_MAX = 500
LAG_EVERY_S = 1.0
METADATA_TIMEOUT_S = 10.0

# The leader of a new topic may not have its metadata yet.
SETTLING = frozenset(
    (
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.OFFSET_NOT_AVAILABLE,  # a new leader before the first fetch of its followers
    )
)


class ReferenceDataNotRead(OperatorError):
    """Reference data could not be read to its end; the message has the cause and the remedy."""


class ReferenceDataFollower(Generic[Event]):
    """Reads one compacted topic from its beginning, in each process: no group, no commits.

    - `on_event(key, event)` is called in the order of each partition: by `read_to_end` in the caller's
      thread, after `start` in the follower's own. A tombstone is `None`.
    - Records that cannot be decoded are counted and skipped.
    - An exception of `on_event` ends the following: `problem` is set, and the process must not stay ready.
    """

    def __init__(
        self,
        bootstrap: str,
        topic: Topic,
        codec: Codec[Event],
        on_event: Callable[[bytes, Event | None], None],
    ) -> None:
        self._topic = topic
        self._codec = codec
        self._on_event = on_event
        self._stopping = threading.Event()
        self._partitions: list[int] = []
        self._thread: threading.Thread | None = None
        self._problem: str | None = None
        self._behind: dict[int, int] = {}  # partition -> offset to reach
        self._caught_up = False
        self._lag_set_at = 0.0
        self._lag_records: int | None = None
        self._changed_at_s: float | None = None
        # There from the start: a rate does not see a first error that also brings its series.
        for metric in (metrics.REFERENCE_EVENTS, metrics.REFERENCE_UNDECODABLE, metrics.REFERENCE_ERRORS):
            metric.labels(topic.role)
        # From the earliest: where the topic was deleted and created again, all of it is in force.
        self._consumer = standalone_consumer(
            bootstrap, "quizstream-reference-data", from_earliest=True, logger=log
        )

    @property
    def caught_up(self) -> bool:
        """Whether all records are read that the topic held when reading began."""
        return self._caught_up

    @property
    def problem(self) -> str | None:
        """The reason why the data is not followed, for readiness; None while it is."""
        if self._problem is not None:
            return self._problem
        return None if self._caught_up else f"reference data {self._topic.role}: not read yet"

    @property
    def lag_records(self) -> int | None:
        """Records in the topic that are not read yet, as of the last second; None before it is counted."""
        return self._lag_records

    @property
    def changed_s_ago(self) -> float | None:
        """The time since the newest record was read; None if there was none."""
        return None if self._changed_at_s is None else time.monotonic() - self._changed_at_s

    def read_to_end(self, timeout_s: float) -> None:
        """Return once all records are handed on that the topic held at the call. Call once, before `start`.

        Raises ReferenceDataNotRead where the brokers are unreachable, the topic is missing, or time runs out.
        """
        give_up_at = time.monotonic() + timeout_s
        self._behind = self._ends(give_up_at)
        self._consumer.assign(
            [TopicPartition(self._topic.name, partition, OFFSET_BEGINNING) for partition in self._partitions]
        )
        while self._behind:
            if time.monotonic() > give_up_at:
                raise ReferenceDataNotRead(
                    f"reference data {self._topic.role}: {self._topic.name} was not read to its end "
                    f"in {timeout_s:g} s"
                )
            self._take()
        self._caught_up = True

    def start(self) -> None:
        """Follow in a daemon thread, from the offsets that `read_to_end` reached."""
        self._thread = threading.Thread(
            target=self._follow, name=f"reference-data-{self._topic.role}", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Return once no more events are handed on. May be called twice."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._consumer.close()

    def _ends(self, give_up_at: float) -> dict[int, int]:
        """The current end of each partition that is not empty."""
        while True:
            timeout_s = min(max(give_up_at - time.monotonic(), 0.1), METADATA_TIMEOUT_S)
            try:
                return self._ends_within(timeout_s)
            except KafkaException as error:
                cause: KafkaError = error.args[0]
                if cause.code() not in SETTLING or time.monotonic() > give_up_at:
                    raise ReferenceDataNotRead(f"reference data {self._topic.role}: {cause.str()}") from None
                time.sleep(RETRY_S)

    def _ends_within(self, timeout_s: float) -> dict[int, int]:
        name = self._topic.name
        metadata = self._consumer.list_topics(name, timeout=timeout_s).topics[name]
        if metadata.error is not None:
            if metadata.error.code() == KafkaError.LEADER_NOT_AVAILABLE:
                raise KafkaException(metadata.error)
            raise ReferenceDataNotRead(
                f"reference data {self._topic.role}: {metadata.error.str()} ({name}): "
                "run `quizstream topology apply`"
            )
        self._partitions = sorted(metadata.partitions)
        ends = {}
        for partition in self._partitions:
            place = TopicPartition(name, partition)
            low, high = self._consumer.get_watermark_offsets(place, timeout=timeout_s)
            if high > low:
                ends[partition] = high
        return ends

    def _follow(self) -> None:
        try:
            while not self._stopping.is_set():
                self._take()
        except Exception as error:
            self._problem = f"reference data {self._topic.role}: following ended by {type(error).__name__}"
            log.exception("reference data %s: following ended", self._topic.role)

    def _take(self) -> None:
        first = self._consumer.poll(POLL_S)
        # poll() for the first: consume() alone would wait for BATCH_MAX records or the time-out.
        for message in [] if first is None else [first, *self._consumer.consume(BATCH_MAX, 0)]:
            error = message.error()
            if error is None:
                self._hand_on(message)
                self._reached(message.partition(), cast(int, message.offset()) + 1)
            elif error.code() == KafkaError._PARTITION_EOF:
                # The last offsets of a log may have no record, such as a transaction's marker.
                self._reached(message.partition(), None)
            else:
                metrics.REFERENCE_ERRORS.labels(self._topic.role).inc()
                log.warning("reference data %s: %s", self._topic.role, error.str())
        self._set_lag()

    def _hand_on(self, message: Message) -> None:
        role = self._topic.role
        metrics.REFERENCE_EVENTS.labels(role).inc()
        self._changed_at_s = time.monotonic()
        key: Any = message.key()
        value: Any = message.value()
        if key is None:
            metrics.REFERENCE_UNDECODABLE.labels(role).inc()
            log.error("reference data %s: no key at %s/%s", role, message.partition(), message.offset())
            return
        try:
            event = None if value is None else self._codec.decode(value)
        except Undecodable as error:
            metrics.REFERENCE_UNDECODABLE.labels(role).inc()
            log.error(
                "reference data %s: %s at %s/%s", role, error.reason, message.partition(), message.offset()
            )
            return
        self._on_event(key, event)

    def _reached(self, partition: int | None, position: int | None) -> None:
        if partition is None:
            return
        end = self._behind.get(partition)
        if end is not None and (position is None or position >= end):
            del self._behind[partition]

    def _set_lag(self) -> None:
        now = time.monotonic()
        if now - self._lag_set_at < LAG_EVERY_S:
            return
        self._lag_set_at = now
        lag = 0
        for place in self._consumer.position(self._consumer.assignment()):
            _, high = self._consumer.get_watermark_offsets(place, cached=True)
            if place.offset >= 0 and high >= 0:
                lag += max(0, high - place.offset)
        self._lag_records = lag
        metrics.REFERENCE_LAG_RECORDS.labels(self._topic.role).set(lag)
