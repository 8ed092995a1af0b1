"""How far each agent and each sink is behind, in records and in seconds, as the brokers say it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import msgspec
from confluent_kafka import Consumer, KafkaException, TopicPartition

from ops.topics import offsets
from pipeline.topology.model import Topology

FIRST_UNREAD_TIMEOUT_S = 5.0


class Lag(msgspec.Struct, frozen=True):
    """One reader of one topic, its partitions summed.

    `seconds` is the age of the oldest record that was not read, 0 where all were, None where that record
    could not be fetched in time.
    """

    reader: str  # agent or sink, as the topology calls it
    kind: str  # agent | sink
    group: str
    topic: str
    records: int
    seconds: float | None
    partitions_behind: int


@dataclass(frozen=True, slots=True)
class Reader:
    name: str
    kind: str
    group: str
    topic: str
    partitions: int


def readers(topology: Topology) -> list[Reader]:
    agents = [
        Reader(agent.name, "agent", topology.stream.group, agent.source.name, agent.source.partitions)
        for agent in topology.agents.values()
    ]
    sinks = [
        Reader(sink.name, "sink", sink.group, sink.source.name, sink.source.partitions)
        for sink in topology.sinks.values()
    ]
    return agents + sinks


def positions(brokers: offsets.Brokers, readers: Iterable[Reader]) -> dict[str, offsets.Offsets]:
    """Group -> where it stands in each of its topics. Raises KafkaException."""
    wanted: dict[str, dict[str, int]] = {}
    for reader in readers:
        wanted.setdefault(reader.group, {})[reader.topic] = reader.partitions
    return {group: brokers.committed(group, topics) for group, topics in wanted.items()}


def behind(
    committed: Mapping[int, int], begins: Mapping[int, int], ends: Mapping[int, int]
) -> dict[int, tuple[int, int]]:
    """Partition -> (first unread offset, records unread), of the partitions with any.

    A partition without a committed offset is read from its beginning; what retention has removed before the
    committed offset cannot be read any more and does not count.
    """
    found = {}
    for partition, end in ends.items():
        first = max(committed.get(partition, 0), begins.get(partition, 0))
        if end > first:
            found[partition] = (first, end - first)
    return found


class LagMeter:
    """Keeps its connections between two measures. One thread at a time."""

    def __init__(self, bootstrap: str, topology: Topology, now_s: Callable[[], float] = time.time) -> None:
        self._readers = readers(topology)
        self._now_s = now_s
        self._ends: offsets.Offsets = {}
        self._brokers = offsets.Brokers(bootstrap)
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": topology.group("lag-meter"),  # asked for by the client; never joined
                "enable.auto.commit": False,
                "log_level": 0,  # what goes wrong is raised
                "auto.offset.reset": "earliest",
                "queued.min.messages": 1,
                "fetch.message.max.bytes": 65536,
                "fetch.wait.max.ms": 50,
            }
        )

    def measure(self) -> list[Lag]:
        """Raises KafkaException when the brokers cannot be asked."""
        topics = {reader.topic: reader.partitions for reader in self._readers}
        begins = self._brokers.begins(topics)
        ends = self._ends = self._brokers.ends(topics)
        committed = positions(self._brokers, self._readers)
        unread = {
            reader: behind(
                committed[reader.group].get(reader.topic, {}), begins[reader.topic], ends[reader.topic]
            )
            for reader in self._readers
        }
        wanted = {
            (reader.topic, partition, first)
            for reader, partitions in unread.items()
            for partition, (first, _) in partitions.items()
        }
        stamps = self._timestamps_ms(wanted)
        now_ms = self._now_s() * 1000
        return [self._lag(reader, partitions, stamps, now_ms) for reader, partitions in unread.items()]

    def ends_seen(self) -> dict[str, int]:
        """Topic -> the sum of its ends, as of the last measure: it changes with every record that comes."""
        return {topic: sum(partitions.values()) for topic, partitions in self._ends.items()}

    def close(self) -> None:
        self._consumer.close()
        self._brokers.close()

    def _lag(
        self,
        reader: Reader,
        partitions: Mapping[int, tuple[int, int]],
        stamps: Mapping[tuple[str, int, int], int],
        now_ms: float,
    ) -> Lag:
        firsts = [(reader.topic, partition, first) for partition, (first, _) in partitions.items()]
        known = [stamps[first] for first in firsts if first in stamps]
        seconds: float | None = 0.0
        if firsts:
            seconds = round(max(0.0, now_ms - min(known)) / 1000, 3) if known else None
        return Lag(
            reader.name,
            reader.kind,
            reader.group,
            reader.topic,
            sum(records for _, records in partitions.values()),
            seconds,
            len(partitions),
        )

    def _timestamps_ms(self, wanted: set[tuple[str, int, int]]) -> dict[tuple[str, int, int], int]:
        """Two readers may stand at two offsets of one partition, so they are fetched in rounds."""
        found: dict[tuple[str, int, int], int] = {}
        deadline_s = time.monotonic() + FIRST_UNREAD_TIMEOUT_S
        rest = set(wanted)
        while rest and time.monotonic() < deadline_s:
            round_of = {(topic, partition): first for topic, partition, first in rest}
            self._consumer.assign([TopicPartition(*where, first) for where, first in round_of.items()])
            waiting = dict(round_of)
            while waiting and time.monotonic() < deadline_s:
                message = self._consumer.poll(0.1)
                if message is None:
                    continue
                if message.error():
                    raise KafkaException(message.error())
                where = (message.topic(), message.partition())
                if where in waiting:
                    found[(*where, waiting.pop(where))] = message.timestamp()[1]
            rest -= {(*where, first) for where, first in round_of.items()}
        self._consumer.unassign()
        return found
