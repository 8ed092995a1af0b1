"""Reads known ranges of a topic once, without a consumer group.

The verbs that read Kafka in this project. All use the clients of `pipeline.runtime.kafka_clients`, and all
but the stages' make their records with `record_of`:

| verb | where | from | to | group, commits |
|---|---|---|---|---|
| read a range | `TopicReader.read` here | given offsets | given ends | none |
| read a whole topic | `TopicScan` here | the first record | the end at its start | none |
| look up single records | `RecordLookup` here | given offsets | one record each | none |
| request offsets | `pipeline.runtime.topic_offsets` | - | - | none |
| follow reference data | `pipeline.runtime.reference_data` | the first record | no end | none |
| consume as a sink | `sinks.postgres.topic_reader` | the tables' offsets | no end | after the rows |
| consume as a stage | `pipeline.engine.transport`, aiokafka | committed offsets | no end | after acks |
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple, cast

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, KafkaError, KafkaException, Message, TopicPartition

from pipeline.runtime.kafka_clients import standalone_consumer
from pipeline.runtime.record import Record
from pipeline.runtime.redrive_headers import redriven
from pipeline.runtime.topic_offsets import REQUEST_TIMEOUT_S, Bounds, list_offsets
from pipeline.topology.model import Topic

BATCH_RECORDS_MAX = 2000  # of one batch; its bytes are bounded by what the client fetches ahead
NO_PROGRESS_S_MAX = 30.0  # then the read fails
LOOKUP_TIMEOUT_S = 10.0
LOOKUP_FETCH_BYTES_MAX = 65_536  # of one partition: only its first record is used; a larger one still comes
LOOKUP_FETCH_WAIT_MS = 50
POLL_S = 0.1

Place = tuple[str, int, int]  # topic, partition, offset


class ReadTimedOut(KafkaException):
    """The brokers returned nothing for too long before a range was read to its end."""

    def __init__(self, reading: str, timeout_s: float) -> None:
        super().__init__(
            KafkaError(KafkaError._TIMED_OUT, f"no answer for {timeout_s:g} s while reading {reading}")
        )


class Batch(NamedTuple):
    """Records of one partition in the order of the log, and the offset to read from after them.

    `next_offset` may lie further than the last record, and `records` may be empty: compaction and the markers
    of transactions leave offsets without a record.
    """

    partition: int
    records: list[Record]
    next_offset: int


def record_of(message: Message, topic: str) -> Record:
    """The record in a message without an error. `topic` is passed so that all records share one string."""
    return Record(
        topic,
        cast(int, message.partition()),
        cast(int, message.offset()),
        max(0, message.timestamp()[1]),
        message.key(),
        message.value(),
        redriven(message.headers()),
    )


class TopicReader:
    """Reads ranges of one topic. Use it in a `with`, in one thread: its end closes the consumer.

    Every method raises KafkaException where the brokers do not answer.
    """

    def __init__(
        self, bootstrap: str, topic: str, client_id: str, request_timeout_s: float = REQUEST_TIMEOUT_S
    ) -> None:
        self._topic = topic
        self._request_timeout_s = request_timeout_s
        self._consumer = standalone_consumer(bootstrap, client_id)

    def __enter__(self) -> TopicReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._consumer.close()

    def bounds(self, partitions: int) -> dict[int, Bounds]:
        """What partitions 0 to `partitions` - 1 hold now."""
        places = [(self._topic, partition) for partition in range(partitions)]
        firsts, ends = (
            list_offsets(self._consumer, places, which, self._request_timeout_s)
            for which in (OFFSET_BEGINNING, OFFSET_END)
        )
        return {place[1]: Bounds(firsts[place], ends[place]) for place in places}

    def read(
        self,
        starts: Mapping[int, int],
        ends: Mapping[int, int],
        no_progress_s_max: float = NO_PROGRESS_S_MAX,
    ) -> Iterator[Batch]:
        """Everything from `starts` up to and without `ends`, by partition; partitions are interleaved.

        The last batch of each partition has its end as `next_offset`. Holds one batch at a time, besides what
        the client fetches ahead. Raises ReadTimedOut when nothing arrives for `no_progress_s_max`, and
        KafkaException for an offset that the log does not have.
        """
        unfinished = {partition: end for partition, end in ends.items() if starts[partition] < end}
        if not unfinished:
            return
        self._consumer.assign([TopicPartition(self._topic, p, starts[p]) for p in unfinished])
        progressed_at_s = time.monotonic()
        while unfinished:
            messages = self._consumer.consume(BATCH_RECORDS_MAX, timeout=POLL_S)
            if messages:
                yield from self._batches(messages, unfinished)
                progressed_at_s = time.monotonic()  # after the caller's work, which is not the brokers' time
            elif time.monotonic() - progressed_at_s > no_progress_s_max:
                raise ReadTimedOut(self._topic, no_progress_s_max)
        self._consumer.unassign()

    def _batches(self, messages: list[Message], unfinished: dict[int, int]) -> Iterator[Batch]:
        records: dict[int, list[Record]] = {}
        next_offsets: dict[int, int] = {}
        for message in messages:
            partition, error = cast(int, message.partition()), message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            if partition not in unfinished:
                continue
            end, offset = unfinished[partition], cast(int, message.offset())
            if error is not None:
                # The end of the partition: offsets before it without a record are compacted, or markers.
                if offset >= end:
                    next_offsets[partition] = end
                continue
            if offset < end:
                records.setdefault(partition, []).append(record_of(message, self._topic))
            next_offsets[partition] = min(offset + 1, end)
        for partition, next_offset in next_offsets.items():
            if next_offset >= unfinished[partition]:
                del unfinished[partition]
            yield Batch(partition, records.get(partition, []), next_offset)


class TopicScan:
    """A whole topic up to its end at the time of the constructor, read once or more.

    `whole`: nothing was removed from the topic's beginning yet (what is compacted away does not show).
    """

    def __init__(self, bootstrap: str, topic: Topic) -> None:
        """Raises KafkaException when the brokers do not answer."""
        self._bootstrap = bootstrap
        self._topic = topic.name
        with self._reader() as reader:
            self._bounds = reader.bounds(topic.partitions)
        self.whole = not any(bounds.first for bounds in self._bounds.values())

    def records(self) -> Iterator[Record]:
        """Every record, in the order of each partition. Raises KafkaException."""
        starts = {partition: bounds.first for partition, bounds in self._bounds.items()}
        ends = {partition: bounds.end for partition, bounds in self._bounds.items()}
        with self._reader() as reader:
            for batch in reader.read(starts, ends):
                yield from batch.records

    def _reader(self) -> TopicReader:
        return TopicReader(self._bootstrap, self._topic, "quizstream-scan")


class RecordLookup:
    """Reads single records by their place. Use it in a `with`, in one thread."""

    def __init__(self, bootstrap: str, client_id: str) -> None:
        # From the earliest: retention may remove the record between a request for offsets and the fetch.
        self._consumer = standalone_consumer(
            bootstrap,
            client_id,
            from_earliest=True,
            fetch_bytes_max=LOOKUP_FETCH_BYTES_MAX,
            fetch_wait_ms=LOOKUP_FETCH_WAIT_MS,
        )

    def __enter__(self) -> RecordLookup:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._consumer.close()

    def record(self, topic: str, partition: int, offset: int) -> Record | None:
        """The record at this place, None where the log does not hold it any more. Raises KafkaException."""
        first, end = (
            list_offsets(self._consumer, [(topic, partition)], which, LOOKUP_TIMEOUT_S)[topic, partition]
            for which in (OFFSET_BEGINNING, OFFSET_END)
        )
        if not first <= offset < end:
            return None
        wanted = (topic, partition, offset)
        found = self.first_records({wanted}, LOOKUP_TIMEOUT_S).get(wanted)
        if found is None:
            raise ReadTimedOut(f"{topic}[{partition}]@{offset}", LOOKUP_TIMEOUT_S)
        return found if found.offset == offset else None  # else it is compacted away

    def first_records(self, places: set[Place], timeout_s: float) -> dict[Place, Record]:
        """The first record at or after each place, of those that come in time. Raises KafkaException."""
        found: dict[Place, Record] = {}
        deadline_s = time.monotonic() + timeout_s
        rest = set(places)
        while rest and time.monotonic() < deadline_s:
            # A partition is read from one offset at a time: two places of one partition take two rounds.
            waiting = {(topic, partition): (topic, partition, offset) for topic, partition, offset in rest}
            rest -= set(waiting.values())
            self._consumer.assign([TopicPartition(*place) for place in waiting.values()])
            while waiting and time.monotonic() < deadline_s:
                message = self._consumer.poll(POLL_S)
                if message is None:
                    continue
                error = message.error()
                if error is not None:
                    if error.code() == KafkaError._PARTITION_EOF:
                        continue  # a record may still come
                    raise KafkaException(error)
                topic = str(message.topic())
                place = waiting.pop((topic, cast(int, message.partition())), None)
                if place is not None:
                    found[place] = record_of(message, topic)
        self._consumer.unassign()
        return found
