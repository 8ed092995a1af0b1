"""Real topics, real records and a running sink, in the corner of one test."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import msgspec
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from prometheus_client import REGISTRY

from pipeline.runtime.backoff import Backoff
from pipeline.runtime.record import Record
from pipeline.topology.loader import load
from pipeline.topology.model import Topology
from schemas.codec import codec
from sinks.postgres import offsets
from sinks.postgres.connect import Connection, connect
from sinks.postgres.dead_letter_producer import DeadLetters, producer
from sinks.postgres.partitions import Bounds, Partitions, Ready
from sinks.postgres.runner import Runner
from sinks.postgres.sink import Arrival, Sink, WriteReport
from sinks.postgres.topic_reader import LogReader
from tests.support.ports import free_ports
from tests.support.producer import delivered

DEADLINE_S = 150.0
TOPOLOGY_FILE = Path(__file__).resolve().parents[2] / "topology.yaml"


def until(true: Callable[[], bool], what: str) -> None:
    """Waits; a test that waits longer than any machine needs has failed."""
    deadline = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.02)


@dataclass
class Corner:
    """One test's topics and database."""

    bootstrap: str
    database_url: str
    topology: Topology
    producer: Producer = field(init=False)
    connection: Connection = field(init=False)

    def __post_init__(self) -> None:
        self.producer = kept_producer(self.bootstrap, self.topology.record_bytes_max)
        self.connection = connect(self.database_url, "test")

    def make_topics(self, *roles: str, record_bytes_max: int | None = None) -> None:
        """With one partition each, so that a test can speak of offsets."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        names = [self.topology.topic(role).name for role in roles]
        config = {} if record_bytes_max is None else {"max.message.bytes": str(record_bytes_max)}
        for made in admin.create_topics([NewTopic(name, 1, 1, config=config) for name in names]).values():
            made.result(DEADLINE_S)

    def make_all_topics(self) -> None:
        """Each as large as the topology says: what a whole process expects."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        topics = self.topology.topics.values()
        for made in admin.create_topics([NewTopic(t.name, t.partitions, 1) for t in topics]).values():
            made.result(DEADLINE_S)

    def produce(self, role: str, events: Sequence[Any], key: bytes = b"k") -> None:
        """Events as their topic's schema says; bytes and None as they are."""
        topic = self.topology.topic(role)
        assert topic.schema is not None
        encode = codec(topic.schema).encode
        for event in events:
            value = event if event is None or isinstance(event, bytes) else encode(event)
            self.producer.produce(topic.name, value, key, partition=0)
        delivered(self.producer)

    def consume(self, role: str) -> list[Any]:
        """Everything that the topic holds now, decoded."""
        return [codec(self.topology.topic(role).schema or "").decode(m.value()) for m in self.messages(role)]

    def messages(self, role: str) -> list[Message]:
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "test-reader"})
        place = TopicPartition(self.topology.topic(role).name, 0, 0)
        low, high = consumer.get_watermark_offsets(place, timeout=DEADLINE_S)
        consumer.assign([TopicPartition(place.topic, 0, low)])
        found: list[Message] = []
        while len(found) < high - low:
            found += [m for m in consumer.consume(high - low, timeout=1.0) if m.error() is None]
        consumer.close()
        return found

    def end(self, role: str) -> int:
        """Records in the topic, over all partitions that it has."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "test-reader"})
        name = self.topology.topic(role).name
        partitions = consumer.list_topics(name, timeout=DEADLINE_S).topics[name].partitions
        places = [TopicPartition(name, partition) for partition in partitions]
        ends = [consumer.get_watermark_offsets(place, timeout=DEADLINE_S)[1] for place in places]
        consumer.close()
        return sum(ends)

    def rows(self, query: str, *parameters: object) -> list[tuple[object, ...]]:
        return self.connection.execute(query, parameters).fetchall()

    def position(self, sink_name: str) -> int | None:
        topic = self.topology.sink(sink_name).source.name
        return offsets.read(self.connection, sink_name, topic).get(0)

    def runner(self, sink: Sink[Any], group: str | None = None, **changes: Any) -> Runner[Any]:
        """A sink wired as in its process, with quick back-off, but for `group` and `changes`."""
        plan = self.topology.sink(sink.name)
        if group is not None:
            plan = msgspec.structs.replace(plan, group=self.topology.group(group))
        dead_letters = DeadLetters(self.producer, self.topology.topic("dead_letters"))
        parts: dict[str, Any] = {
            "decoder": codec(plan.source.schema or ""),
            "reader": LogReader(self.bootstrap, plan),
            "connect": lambda: connect(self.database_url, f"test {sink.name}"),
            "partitions": Partitions(Bounds(past_days_max=400, future_days_max=7), today),
            "refuse": dead_letters.refuse,
            "backoff": Backoff(first_s=0.02, longest_s=0.2, rng=random.Random(1)),
        }
        return Runner(sink, plan, **(parts | changes))

    def write(self, sink: Sink[Any], events: Sequence[Any]) -> WriteReport:
        """One batch straight into the tables, without Kafka; its partitions are made."""
        sink.prepare(self.connection)
        partitions = Partitions(Bounds(past_days_max=400, future_days_max=7), today)
        for event in events:
            for partition in sink.partitions(event):
                assert isinstance(partitions.ensure(self.connection, partition), Ready)
        arrivals = [Arrival(Record("test", 0, n, 0, None, None), event) for n, event in enumerate(events)]
        with self.connection.transaction():
            return sink.write(self.connection, arrivals)

    def told(self, role: str = "delivery_events") -> list[Any]:
        """The events that the outbox holds for a topic, oldest first."""
        decode = codec(str(self.topology.topic(role).schema)).decode
        rows = self.rows("SELECT value FROM outbox WHERE topic = %s ORDER BY id", role)
        return [decode(cast(bytes, value)) for (value,) in rows]

    @contextmanager
    def running(self, sink: Sink[Any], **changes: Any) -> Iterator[RunningSink]:
        """The sink in a thread of its own; what ended it, if anything did, comes up at the end."""
        running = RunningSink(self.runner(sink, **changes))
        running.start()
        try:
            yield running
        finally:
            running.stop()
        if running.failure is not None:
            raise running.failure

    def run_to_end(self, sink: Sink[Any], **changes: Any) -> None:
        """Returns once the sink has stored the topic as it is now."""
        end = self.end(self.topology.sink(sink.name).source.role)
        with self.running(sink, **changes) as running:
            until(
                lambda: self.position(sink.name) == end or running.failure is not None,
                f"sink {sink.name} to reach {end}",
            )

    def env(self) -> dict[str, str]:
        """Of a process of the project in this corner."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap,
            "DATABASE_URL": self.database_url,
            "QUIZSTREAM_NAMESPACE": self.topology.namespace,
            "QUIZSTREAM_PORT_BASE": str(free_ports().base),
        }

    def close(self) -> None:
        self.connection.close()


@lru_cache(maxsize=2)  # the shared broker, and one of a test's own
def kept_producer(bootstrap: str, record_bytes_max: int) -> Producer:
    """An idempotent producer waits more than half a second for its id: tests have one together."""
    return producer(bootstrap, "test", record_bytes_max)


class RunningSink(threading.Thread):
    def __init__(self, runner: Runner[Any]) -> None:
        super().__init__(daemon=True)
        self.runner = runner
        self.failure: Exception | None = None
        self._stop_asked = threading.Event()

    def run(self) -> None:
        try:
            self.runner.run(self._stop_asked)
        except Exception as error:
            self.failure = error

    def stop(self) -> None:
        self._stop_asked.set()
        self.join(DEADLINE_S)
        assert not self.is_alive(), "the sink did not stop"


def counted(metric: str, **labels: str) -> float:
    """What a counter shows now; 0 before it was first used."""
    return REGISTRY.get_sample_value(metric, labels) or 0.0


def topology_of(namespace: str) -> Topology:
    return load(TOPOLOGY_FILE, namespace.rstrip("."))


def today() -> date:
    return datetime.now(UTC).date()
