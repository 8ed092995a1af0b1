"""Checks repeatedly during a run that no committed offset exceeds what is durable.

Committed offsets are read first, durable results after them, so that the latter can only be further. For a
stage, durable means: every record below the committed offset has its result in the output topics or among the
dead letters.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from uuid import UUID

import msgspec
import psycopg
from confluent_kafka import KafkaException

from ops.locate import Deployment
from pipeline.runtime.record import Record
from pipeline.runtime.topic_offsets import Offsets, TopicOffsets
from pipeline.runtime.topic_reader import TopicReader
from pipeline.topology.model import Topic
from schemas.codec import Undecodable, codec
from sinks.postgres import offsets
from sinks.postgres.connect import connect

LOOK_EVERY_S = 1.0
READ_TIMEOUT_S = 20.0
VIOLATIONS_KEPT_MAX = 50


class Violation(msgspec.Struct, frozen=True):
    """`ids`: completions (and campaigns) below the committed offset without a result; empty for a sink."""

    at_s: float
    what: str
    ids: tuple[str, ...] = ()


class Ahead(msgspec.Struct, frozen=True):
    """A record that was read. `owed`: the ids that must have a result before its offset is committed."""

    offset: int
    owed: str


class Debts:
    """Per partition of one source topic, the records that were read and have no result yet. Pure."""

    def __init__(self) -> None:
        self._open: dict[int, deque[Ahead]] = {}
        self._paid: set[str] = set()

    def owe(self, partition: int, offset: int, owed: str) -> None:
        self._open.setdefault(partition, deque()).append(Ahead(offset, owed))

    def pay(self, owed: str) -> None:
        self._paid.add(owed)

    def passed(self, partition: int, committed: int) -> list[Ahead]:
        """Remove the records below `committed`; return those without a result."""
        unpaid = []
        waiting = self._open.get(partition, deque())
        while waiting and waiting[0].offset < committed:
            debt = waiting.popleft()
            if debt.owed not in self._paid:
                unpaid.append(debt)
        return unpaid


class Tail:
    """Reads several topics from their beginnings, incrementally."""

    def __init__(self, bootstrap: str, topics: list[Topic]) -> None:
        self._next = {topic.name: dict.fromkeys(range(topic.partitions), 0) for topic in topics}
        self._readers = {
            topic.name: TopicReader(bootstrap, topic.name, "quizstream-watcher") for topic in topics
        }

    def read_to(self, ends: Offsets, no_progress_s_max: float) -> Iterator[Record]:
        """Yield all records below `ends` that were not read before. Raises KafkaException."""
        for topic, reader in self._readers.items():
            next_offsets = self._next[topic]
            for batch in reader.read(dict(next_offsets), ends[topic], no_progress_s_max):
                for record in batch.records:
                    next_offsets[batch.partition] = record.offset + 1
                    yield record
                next_offsets[batch.partition] = batch.next_offset

    def close(self) -> None:
        for reader in self._readers.values():
            reader.close()


class Watcher:
    """`looks` counts completed checks; one that a fault interrupts has no result."""

    def __init__(self, found: Deployment, clock: Callable[[], float] = time.monotonic) -> None:
        self.looks = 0
        self.broken_off = 0
        self.violations: list[Violation] = []
        self._found = found
        self._clock = clock
        self._began_s = clock()
        topology = found.topology
        self._raw, self._matches = topology.topic("completions"), topology.topic("matches")
        self._brokers = TopicOffsets(found.settings.kafka_bootstrap_servers)
        self._topics = [
            topology.topic(role)
            for role in ("completions", "outcomes", "matches", "deliveries", "duplicates", "dead_letters")
        ]
        self._tail = Tail(found.settings.kafka_bootstrap_servers, self._topics)
        self._verdicts, self._splits = Debts(), Debts()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Check once more, then end."""
        self._stop.set()
        self._thread.join(READ_TIMEOUT_S * 3)
        self.close()

    def _run(self) -> None:
        while True:
            last = self._stop.is_set()
            try:
                self.look()
            except (KafkaException, psycopg.Error, OSError):
                self.broken_off += 1
            if last:
                return
            self._stop.wait(LOOK_EVERY_S)

    def look(self) -> None:
        """Check once; raises the error that prevents it. Not while the thread runs."""
        self._look_at_stages()
        self._look_at_sinks()
        self.looks += 1

    def close(self) -> None:
        self._tail.close()
        self._brokers.close()

    def _look_at_sinks(self) -> None:
        sinks = self._found.topology.sinks.values()
        committed = {
            sink.group: self._brokers.committed(sink.group, {sink.source.name: sink.source.partitions})
            for sink in sinks
        }
        with connect(self._found.settings.database_url, "watcher") as connection:
            for sink in sinks:
                topic = sink.source.name
                durable = offsets.read(connection, sink.name, topic)
                for partition, offset in committed[sink.group].get(topic, {}).items():
                    if offset > durable.get(partition, 0):
                        self._tell(
                            f"sink {sink.name}: {topic}[{partition}] committed at {offset}, the tables have "
                            f"{durable.get(partition, 0)}"
                        )

    def _look_at_stages(self) -> None:
        group = self._found.topology.stream.group
        committed = self._brokers.committed(group, {t.name: t.partitions for t in (self._raw, self._matches)})
        ends = self._brokers.ends({topic.name: topic.partitions for topic in self._topics})
        for record in self._tail.read_to(ends, READ_TIMEOUT_S):
            self._enter(record)
        for topic, debts, owed in (
            (self._raw, self._verdicts, "a verdict"),
            (self._matches, self._splits, "a delivery or duplicate"),
        ):
            for partition, offset in committed.get(topic.name, {}).items():
                unpaid = debts.passed(partition, offset)
                if unpaid:
                    self._tell(
                        f"{topic.name}[{partition}] committed at {offset}: {len(unpaid)} records without "
                        f"{owed}, the first at {unpaid[0].offset}",
                        tuple(debt.owed for debt in unpaid),
                    )

    def _enter(self, record: Record) -> None:
        topology, value = self._found.topology, record.value or b""
        here = f"{record.topic}[{record.partition}]@{record.offset}"
        try:
            match topology.role_of(record.topic):
                case "completions":
                    owed = here
                    try:
                        owed = codec("completion").decode(value).completion_id
                    finally:
                        self._verdicts.owe(record.partition, record.offset, owed)
                case "matches":
                    owed = here
                    try:
                        match_ = codec("match").decode(value)
                        owed = f"{match_.completion_id} {match_.campaign_id}"
                    finally:
                        self._splits.owe(record.partition, record.offset, owed)
                case "outcomes":
                    self._verdicts.pay(codec("outcome").decode(value).completion_id)
                case "deliveries":
                    delivery = codec("match").decode(value)
                    self._splits.pay(f"{delivery.completion_id} {delivery.campaign_id}")
                case "duplicates":
                    duplicate = codec("duplicate").decode(value)
                    self._splits.pay(f"{duplicate.completion_id} {duplicate.campaign_id}")
                case "dead_letters":
                    self._enter_dead_letter(value)
        except Undecodable:
            return  # a poison record of this run: its result is a dead letter with its place

    def _enter_dead_letter(self, value: bytes) -> None:
        letter = codec("dead_letter").decode(value)
        place = f"{letter.source_topic}[{letter.source_partition}]@{letter.source_offset}"
        debts = self._verdicts if letter.source_topic == self._raw.name else self._splits
        if not letter.stage.startswith("sink:"):
            debts.pay(place)
            if letter.source_topic == self._raw.name:
                try:
                    debts.pay(codec("completion").decode(letter.personal.value or b"").completion_id)
                except Undecodable:
                    return

    def _tell(self, what: str, ids: tuple[str, ...] = ()) -> None:
        if len(self.violations) < VIOLATIONS_KEPT_MAX:
            self.violations.append(Violation(round(self._clock() - self._began_s, 1), what, ids[:10]))


def completion_ids(violations: list[Violation]) -> list[str]:
    """Return the completions of the violations, each once."""
    found: dict[str, None] = {}
    for violation in violations:
        for one in violation.ids:
            try:
                found[str(UUID(one.split()[0]))] = None
            except ValueError:
                continue
    return list(found)
