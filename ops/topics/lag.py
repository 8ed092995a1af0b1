"""Measures the lag of each agent and each sink, in records and in seconds, from the brokers' offsets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import msgspec

from pipeline.runtime.topic_offsets import Offsets, TopicOffsets
from pipeline.runtime.topic_reader import RecordLookup
from pipeline.topology.model import Topology

FIRST_UNREAD_TIMEOUT_S = 5.0


class Lag(msgspec.Struct, frozen=True):
    """The lag of one reader on one topic, summed over its partitions.

    `seconds`: age of the oldest record not read; 0 if all were read, None if that record could not be fetched
    in time.
    """

    reader: str  # name of the agent or sink in the topology
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


def positions(brokers: TopicOffsets, readers: Iterable[Reader]) -> dict[str, Offsets]:
    """Return the committed offsets: group -> topic -> partition -> offset. Raises KafkaException."""
    wanted: dict[str, dict[str, int]] = {}
    for reader in readers:
        wanted.setdefault(reader.group, {})[reader.topic] = reader.partitions
    return {group: brokers.committed(group, topics) for group, topics in wanted.items()}


def behind(
    committed: Mapping[int, int], begins: Mapping[int, int], ends: Mapping[int, int]
) -> dict[int, tuple[int, int]]:
    """Return partition -> (first unread offset, number of unread records), of partitions with any.

    A partition without a committed offset is read from its beginning. Records that retention has deleted do
    not count.
    """
    found = {}
    for partition, end in ends.items():
        first = max(committed.get(partition, 0), begins.get(partition, 0))
        if end > first:
            found[partition] = (first, end - first)
    return found


class LagMeter:
    """Measures repeatedly over the same connections. Not thread-safe."""

    def __init__(self, bootstrap: str, topology: Topology, now_s: Callable[[], float] = time.time) -> None:
        self._readers = readers(topology)
        self._now_s = now_s
        self._ends: Offsets = {}
        self._brokers = TopicOffsets(bootstrap)
        self._records = RecordLookup(bootstrap, "quizstream-lag-meter")

    def measure(self) -> list[Lag]:
        """Return the lag of every reader. Raises KafkaException if the brokers do not answer."""
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
        firsts = self._records.first_records(wanted, FIRST_UNREAD_TIMEOUT_S)
        stamps = {place: record.timestamp_ms for place, record in firsts.items()}
        now_ms = self._now_s() * 1000
        return [self._lag(reader, partitions, stamps, now_ms) for reader, partitions in unread.items()]

    def ends_seen(self) -> dict[str, int]:
        """Return topic -> sum of its end offsets at the last measurement; every new record changes it."""
        return {topic: sum(partitions.values()) for topic, partitions in self._ends.items()}

    def close(self) -> None:
        self._records.close()
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
